# Mends how ggml's AMX kernels configure the tiles that they multiply with, in a copy of their file.
#
# ggml does it once for each thread. Who else uses AMX in that thread, PyTorch for bfloat16 or
# another llama.cpp, leaves other shapes behind, or none: then products are nonsense, or an illegal
# instruction ends the process. The copy does it for every product. whole_tile_config.h is for GCC.

set(amx ${llama_dir}/ggml/src/ggml-cpu/amx)
set(mended ${PROJECT_BINARY_DIR}/amx/mmq.cpp)
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${amx}/mmq.cpp)

file(READ ${amx}/mmq.cpp before)
string(REPLACE "static thread_local bool done = false;" "bool done = false;" after "${before}")
if(after STREQUAL before)
  message(WARNING "${amx}/mmq.cpp configures its tiles in another way than the one that we mend.")
endif()
file(CONFIGURE OUTPUT ${mended} CONTENT "${after}" @ONLY)

get_target_property(sources ggml-cpu SOURCES)
list(TRANSFORM sources REPLACE "^.*/amx/mmq\\.cpp$" ${mended})
set_target_properties(ggml-cpu PROPERTIES SOURCES "${sources}")
set_source_files_properties(${mended} TARGET_DIRECTORY ggml-cpu PROPERTIES INCLUDE_DIRECTORIES ${amx})
if(NOT MSVC)
  set_source_files_properties(${mended} TARGET_DIRECTORY ggml-cpu
    PROPERTIES COMPILE_OPTIONS "-include;${CMAKE_CURRENT_LIST_DIR}/whole_tile_config.h")
endif()
