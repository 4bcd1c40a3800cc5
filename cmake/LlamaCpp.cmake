# The target `llama`: the pinned llama.cpp, or the user's own, linked statically.
#
# Sets REWARDSHIFT_LLAMA_CPP_VERSION (of the distribution) and REWARDSHIFT_LLAMA_CPP_COMMIT, which
# are "custom" and "unknown" for sources of the user's own. Every GGML_* option that is not set
# here, GGML_CUDA, GGML_METAL and GGML_VULKAN among them, is the user's to set; those for x86-64
# processors follow from REWARDSHIFT_CPU.

set(pin ${PROJECT_SOURCE_DIR}/third_party/llama.cpp/pin.json)
set(fetch ${PROJECT_SOURCE_DIR}/third_party/llama.cpp/fetch.py)
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${pin})

set(llama_dir "${REWARDSHIFT_LLAMA_CPP_DIR}")
if(NOT llama_dir)
  file(TO_CMAKE_PATH "$ENV{REWARDSHIFT_LLAMA_CPP_DIR}" llama_dir)
endif()

if(llama_dir)
  if(NOT EXISTS "${llama_dir}/include/llama.h")
    message(FATAL_ERROR
      "REWARDSHIFT_LLAMA_CPP_DIR is ${llama_dir}, which has no include/llama.h. "
      "Set it to the top folder of a llama.cpp source tree, or unset it to use the pinned one.")
  endif()
  set(REWARDSHIFT_LLAMA_CPP_VERSION custom)
  set(REWARDSHIFT_LLAMA_CPP_COMMIT unknown)
else()
  execute_process(COMMAND ${Python_EXECUTABLE} ${fetch}
    OUTPUT_VARIABLE fetched OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "The llama.cpp sources are missing; the reason is printed above.")
  endif()
  string(REGEX MATCH "[^\n]+$" fetched "${fetched}")
  file(TO_CMAKE_PATH "${fetched}" llama_dir)
  file(READ ${pin} pinned)
  string(JSON REWARDSHIFT_LLAMA_CPP_VERSION GET "${pinned}" version)
  string(JSON REWARDSHIFT_LLAMA_CPP_COMMIT GET "${pinned}" llama_cpp_commit)
endif()
message(STATUS "llama.cpp: ${llama_dir} (${REWARDSHIFT_LLAMA_CPP_COMMIT})")

# Both halves of llama.cpp ask git, which finds the hash of whatever repository happens to surround
# the sources. The first is given a git that fails, the second none, and both the commit.
set(LLAMA_BUILD_NUMBER 0)
set(LLAMA_BUILD_COMMIT ${REWARDSHIFT_LLAMA_CPP_COMMIT})
set(CMAKE_DISABLE_FIND_PACKAGE_Git ON)
set(GIT_EXECUTABLE ${CMAKE_COMMAND} -E false)
set(GIT_EXE "")

set(BUILD_SHARED_LIBS OFF)
set(LLAMA_ALL_WARNINGS OFF)
foreach(part TESTS APP UI)
  set(LLAMA_BUILD_${part} OFF)
endforeach()
foreach(part COMMON TOOLS EXAMPLES SERVER)
  set(LLAMA_BUILD_${part} ${REWARDSHIFT_BUILD_PEERS})
endforeach()
set(LLAMA_USE_PREBUILT_UI OFF) # the server's page would be downloaded
set(LLAMA_TOOLS_INSTALL OFF)
set(LLAMA_OPENSSL OFF) # nothing here downloads
rewardshift_choose_cpu(${REWARDSHIFT_CPU})
# All contexts share one ggml threadpool. llama.cpp's programs have one for each context, whose spinning
# threads stand in each other's way (8 instead of 38 tokens/s on two cores); they get OpenMP, their default.
# On a GPU the threads hardly matter, and its kernels take too long to be compiled twice: there the peers
# are built beside the core, which stays as it is shipped.
set(GGML_OPENMP OFF)
if(REWARDSHIFT_BUILD_PEERS AND NOT GGML_CUDA)
  set(GGML_OPENMP ON)
endif()

# No installation of llama.cpp, and no warnings from its headers.
set(CMAKE_POLICY_DEFAULT_CMP0077 NEW) # lets the variables above override its options
add_subdirectory(${llama_dir} llama.cpp EXCLUDE_FROM_ALL SYSTEM)
include(AmxTiles)
include(HugePages)

# What `benchmarks/peers.py` and `benchmarks/serve.py` compare with: the same sources, compiled with the
# same flags.
if(REWARDSHIFT_BUILD_PEERS)
  add_custom_target(peers)
  foreach(peer llama-speculative-simple llama-bench llama-server)
    set_target_properties(${peer} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
    add_dependencies(peers ${peer})
  endforeach()
endif()
