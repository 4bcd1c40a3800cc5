# Asks for huge pages for what ggml allocates. llama.cpp's own programs, that we compare with, are as
# their authors made them.

if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT REWARDSHIFT_BUILD_PEERS)
  set_source_files_properties(${llama_dir}/ggml/src/ggml.c TARGET_DIRECTORY ggml-base
    PROPERTIES COMPILE_OPTIONS "-include;${CMAKE_CURRENT_LIST_DIR}/huge_pages.h")
endif()
