// How much memory there is to be had.
#pragma once

#include <cstddef>
#include <string>

namespace rewardshift::llama {

/// Bytes that this process can still use without being killed for it: what the kernel calls
/// available, swap included, within the limits of the process's cgroups (v1 or v2). On systems
/// other than Linux, the physical memory; the largest size_t where nothing can be told.
///
/// `root` is where proc/ and sys/ are looked for.
std::size_t available_memory(const std::string& root = "/");

/// Whether so many bytes of address space can be allocated now. Unlike available_memory() it heeds
/// RLIMIT_AS and a kernel that does not overcommit; unlike it, it does not know what is in use.
bool can_allocate(std::size_t bytes);

}  // namespace rewardshift::llama
