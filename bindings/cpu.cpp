// The module _cpu: what this x86-64 processor and its operating system support. It is compiled
// for any of them, and decides which core may be loaded.
#include <nanobind/nanobind.h>
#include <nanobind/stl/set.h>
#include <nanobind/stl/string.h>

#include <cstdint>
#include <set>
#include <string>

#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif

namespace nb = nanobind;

namespace {

/// What the instruction CPUID answers; zeros for leaves that the processor does not have.
struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;

  Leaf(unsigned leaf, unsigned subleaf) {
#ifdef _MSC_VER
    int words[4];
    __cpuid(words, 0);
    if (static_cast<unsigned>(words[0]) < leaf) return;
    __cpuidex(words, static_cast<int>(leaf), static_cast<int>(subleaf));
    a = static_cast<unsigned>(words[0]);
    b = static_cast<unsigned>(words[1]);
    c = static_cast<unsigned>(words[2]);
    d = static_cast<unsigned>(words[3]);
#else
    if (__get_cpuid_count(leaf, subleaf, &a, &b, &c, &d) == 0) a = b = c = d = 0;
#endif
  }
};

bool has(unsigned word, int bit) { return ((word >> bit) & 1U) != 0; }

/// Which registers the operating system saves for a process; 0 where it does not say.
std::uint64_t saved_registers() {
  if (!has(Leaf(1, 0).c, 27)) return 0;  // OSXSAVE
#ifdef _MSC_VER
  return _xgetbv(0);
#else
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
#endif
}

/// Names are ggml's: its option GGML_<name> lets the compiler use the feature. Bits are those of
/// Intel's Software Developer's Manual, volume 2, CPUID, and volume 1, 13.3 (XCR0).
std::set<std::string> features() {
  const Leaf one(1, 0);
  const Leaf seven(7, 0);
  const Leaf seven_one(7, 1);
  constexpr std::uint64_t kYmm = 0b110;
  constexpr std::uint64_t kZmm = 0b11100110;
  const std::uint64_t saved = saved_registers();
  const bool ymm = (saved & kYmm) == kYmm;
  const bool avx512 = (saved & kZmm) == kZmm && has(seven.b, 16);  // AVX512F

  std::set<std::string> found;
  const auto note = [&](const char* name, bool present) {
    if (present) found.insert(name);
  };
  note("SSE42", has(one.c, 20) && has(one.c, 23));  // compilers take POPCNT for a part of it
  note("AVX", ymm && has(one.c, 28));
  note("F16C", ymm && has(one.c, 29));
  note("FMA", ymm && has(one.c, 12));
  note("AVX2", ymm && has(seven.b, 5));
  note("BMI2", has(seven.b, 8));
  note("AVX_VNNI", ymm && has(seven_one.a, 4));
  note("AVX512", avx512 && has(seven.b, 17) && has(seven.b, 28) && has(seven.b, 30) &&
                     has(seven.b, 31));  // with DQ, CD, BW and VL
  note("AVX512_VBMI", avx512 && has(seven.c, 1));
  note("AVX512_VNNI", avx512 && has(seven.c, 11));
  note("AVX512_BF16", avx512 && has(seven_one.a, 5));
  return found;
}

}  // namespace

NB_MODULE(_cpu, m) { m.def("features", &features, "What code may use here, in ggml's names."); }
