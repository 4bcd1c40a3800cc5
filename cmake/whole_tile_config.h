// Included before ggml's AMX kernels. GCC before 11.5, 12.4, 13.3 and 14 takes _tile_loadconfig to read
// eight bytes of the configuration's 64 (its PR 114098), and drops the stores to the others: the tiles then
// have whatever shapes the stack held, and the kernels end the process or compute nonsense.
#pragma once

#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#define _tile_loadconfig(config)                     \
  do {                                               \
    const void* const whole = (config);              \
    __asm__ volatile("" : : "r"(whole) : "memory");  \
    _tile_loadconfig(whole);                         \
  } while (false)
#endif
