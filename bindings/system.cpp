#include "rewardshift/llama/system.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "rewardshift/llama/log.h"
#include "rewardshift/llama/memory.h"

namespace rewardshift::bindings {
namespace {

/// Levels of Python's logging module.
int python_level(llama::LogLevel level) {
  switch (level) {
    case llama::LogLevel::info:
      return 20;
    case llama::LogLevel::warning:
      return 30;
    case llama::LogLevel::error:
      return 40;
  }
  return 0;
}

}  // namespace

void register_system(nb::module_& m) {
  using llama::Device;
  nb::class_<Device>(m, "Device", "A device llama.cpp can compute on.")
      .def_ro("name", &Device::name)
      .def_ro("description", &Device::description)
      .def_ro("kind", &Device::kind, "cpu, gpu, integrated gpu, accelerator or other")
      .def_ro("backend", &Device::backend)
      .def_ro("free_memory", &Device::free_memory, "Bytes.")
      .def_ro("total_memory", &Device::total_memory, "Bytes.");
  m.attr("cpu") = REWARDSHIFT_CPU;  // which one it was compiled for; see cmake/CpuVariants.cmake
  m.attr("llama_cpp_version") = REWARDSHIFT_LLAMA_CPP_VERSION;
  m.attr("llama_cpp_commit") = REWARDSHIFT_LLAMA_CPP_COMMIT;
  m.def("backends", &llama::backends, "Names of the backends compiled in.");
  m.def("devices", &llama::devices, "Devices usable now.");
  m.def("cpu_features", &llama::cpu_features, "Features the CPU backend was built to use.");
  m.def("usable_cores", &llama::usable_cores, "Physical cores this process may run on.");
  m.def("available_memory", &llama::available_memory, nb::arg("root") = "/",
        "Bytes this process can still use; `root` is where proc/ and sys/ are looked for.");
  m.def(
      "drain_log",
      [] {
        std::vector<std::pair<int, nb::str>> lines;
        for (const auto& line : llama::drain_log()) {
          lines.emplace_back(python_level(line.level), to_str(line.text));
        }
        return lines;
      },
      "llama.cpp's log since the last call: pairs of logging level and line.");
}

}  // namespace rewardshift::bindings
