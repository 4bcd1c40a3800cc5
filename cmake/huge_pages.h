// Included before ggml's allocations on Linux. A token of a model reads all of its weights once. In
// pages of 4 KiB the processor looks up a quarter of a million addresses for a gigabyte; in huge ones
// five hundred. Most systems give these to whoever asks for them ("madvise"), which ggml does not.
#pragma once

#include <stdlib.h>
#include <sys/mman.h>

static inline int rewardshift_memalign(void** memory, size_t alignment, size_t size) {
  const size_t huge_page = (size_t)2 << 20;
  if (size < 4 * huge_page) return posix_memalign(memory, alignment, size);
  const int failure = posix_memalign(memory, huge_page, size);
  if (failure == 0) (void)madvise(*memory, size, MADV_HUGEPAGE);  // a wish: it may be declined
  return failure;
}

#define posix_memalign rewardshift_memalign
