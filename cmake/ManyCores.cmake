# One wheel for many processors: a core for each of REWARDSHIFT_CPU, best first, and what chooses
# among them at import (python/rewardshift/_variants.py).
#
# Each core is a build of this project of its own. Only ggml's and our own loops differ between
# them, so a compiler cache makes all but the first cheap.

include(ExternalProject)

# What was set for this build goes for theirs.
get_cmake_property(settings CACHE_VARIABLES)
list(FILTER settings INCLUDE REGEX
  "^(GGML|LLAMA|REWARDSHIFT|SKBUILD)_|^Python_|^CMAKE_(OSX_|BUILD_TYPE$|MAKE_PROGRAM$|.*_COMPILER$|.*_COMPILER_LAUNCHER$|C(XX|UDA)?_FLAGS|CUDA_ARCHITECTURES$|MSVC_RUNTIME_LIBRARY$|.*_LINKER_FLAGS)")
list(REMOVE_ITEM settings REWARDSHIFT_CPU REWARDSHIFT_CPU_COUNT)
set(inherited "")
foreach(name IN LISTS settings)
  list(APPEND inherited "-D${name}:STRING=${${name}}")
endforeach()

set(cores ${CMAKE_CURRENT_BINARY_DIR}/cores)
set(needs "")
foreach(cpu IN LISTS REWARDSHIFT_CPU)
  ExternalProject_Add(core_${cpu}
    SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR}
    BINARY_DIR ${CMAKE_CURRENT_BINARY_DIR}/build/${cpu}
    PREFIX ${CMAKE_CURRENT_BINARY_DIR}/build/${cpu}-steps
    CMAKE_CACHE_ARGS ${inherited} -DREWARDSHIFT_CPU:STRING=${cpu}
    BUILD_COMMAND ${CMAKE_COMMAND} --build <BINARY_DIR> --config $<CONFIG> --target _core
    INSTALL_COMMAND ${CMAKE_COMMAND} --install <BINARY_DIR> --config $<CONFIG> --component core
      --prefix ${cores}/${cpu} --strip
    BUILD_ALWAYS TRUE
    USES_TERMINAL_CONFIGURE TRUE # one after another: each uses all processors, and
    USES_TERMINAL_BUILD TRUE)    # the first to be configured may fetch llama.cpp
  install(DIRECTORY ${cores}/${cpu}/rewardshift/ DESTINATION rewardshift/_cores/${cpu}
    COMPONENT core)
  list(JOIN ${cpu}_needs " " list)
  string(APPEND needs "    \"${cpu}\": \"${list}\",\n")
endforeach()

rewardshift_python_module(_cpu bindings/cpu.cpp)
install(TARGETS _cpu LIBRARY DESTINATION rewardshift COMPONENT core)
configure_file(cmake/_core.py.in _core.py @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/_core.py DESTINATION rewardshift COMPONENT core)

list(GET REWARDSHIFT_CPU -1 least) # the one that this machine can surely run
nanobind_add_stub(rewardshift_stub
  MODULE _core
  OUTPUT _core.pyi
  MARKER_FILE py.typed
  PYTHON_PATH ${cores}/${least}/rewardshift
  DEPENDS core_${least})
install(
  FILES ${CMAKE_CURRENT_BINARY_DIR}/_core.pyi ${CMAKE_CURRENT_BINARY_DIR}/py.typed
  DESTINATION rewardshift COMPONENT stub)
