// One register_x per part of the core; module.cpp calls them in order.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <string_view>

namespace rewardshift::bindings {

namespace nb = nanobind;

/// Text from a file that may be damaged: bytes that are no UTF-8 become U+FFFD.
inline nb::str to_str(std::string_view text) {
  return nb::steal<nb::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

/// The clock of everything that is timed.
inline double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void register_errors(nb::module_& m);
void register_grammar(nb::module_& m);
void register_ngram_table(nb::module_& m);
void register_options(nb::module_& m);
void register_rule(nb::module_& m);
void register_system(nb::module_& m);
void register_model(nb::module_& m);
void register_language_model(nb::module_& m);
void register_head(nb::module_& m);
void register_draft_policy(nb::module_& m);
void register_decoder(nb::module_& m);
void register_vocabulary(nb::module_& m);

}  // namespace rewardshift::bindings
