# The processors that a core can be compiled for, and REWARDSHIFT_CPU_COUNT: of how many kinds
# REWARDSHIFT_CPU asks for one.
#
# native is this machine's; generic is what the compiler takes for granted. Each other name is
# one of ggml's, with the features that it needs in ggml's spelling (GGML_<feature> compiles for
# it; bindings/cpu.cpp looks for it), best first.

set(variants zen4 cascadelake skylakex alderlake haswell sse42)
set(sse42_needs SSE42)
set(haswell_needs SSE42 AVX F16C FMA AVX2 BMI2)
set(alderlake_needs ${haswell_needs} AVX_VNNI)
set(skylakex_needs ${haswell_needs} AVX512)
set(cascadelake_needs ${skylakex_needs} AVX512_VNNI)
set(zen4_needs ${cascadelake_needs} AVX512_VBMI AVX512_BF16)
set(native_needs "")
set(generic_needs "")
if(MSVC) # cannot compile for AVX512_BF16
  list(REMOVE_ITEM variants zen4)
endif()

if(REWARDSHIFT_CPU STREQUAL "portable")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(REWARDSHIFT_CPU ${variants})
  else()
    set(REWARDSHIFT_CPU generic)
  endif()
endif()
list(LENGTH REWARDSHIFT_CPU REWARDSHIFT_CPU_COUNT)
foreach(name IN LISTS REWARDSHIFT_CPU)
  if(NOT DEFINED ${name}_needs)
    list(JOIN variants ", " known)
    message(FATAL_ERROR
      "REWARDSHIFT_CPU names ${name}; it may be native, portable, generic, or of ${known}.")
  endif()
endforeach()

# Sets ggml's options for one of them in the caller's scope.
macro(rewardshift_choose_cpu name)
  string(COMPARE EQUAL ${name} native GGML_NATIVE)
  foreach(feature IN LISTS zen4_needs alderlake_needs) # without native, ggml assumes some of them
    set(GGML_${feature} OFF)
  endforeach()
  foreach(feature IN LISTS ${name}_needs)
    set(GGML_${feature} ON)
  endforeach()
endmacro()
