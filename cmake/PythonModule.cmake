# rewardshift_python_module(name sources...): an extension module that exports only its entry.

function(rewardshift_python_module name)
  nanobind_add_module(${name}
    STABLE_ABI NB_STATIC NB_DOMAIN rewardshift NOMINSIZE NB_SUPPRESS_WARNINGS ${ARGN})
  # Hidden visibility leaves the standard library's templates exported; the linker hides those.
  if(APPLE)
    target_link_options(${name} PRIVATE -Wl,-exported_symbol,_PyInit_${name})
  elseif(UNIX)
    set(exports ${PROJECT_SOURCE_DIR}/cmake/exports.map)
    target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL -Wl,--version-script=${exports})
    set_property(TARGET ${name} PROPERTY LINK_DEPENDS ${exports})
  endif()
endfunction()
