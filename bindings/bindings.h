// One register_x per part of the core; module.cpp calls them in order.
#pragma once

#include <nanobind/nanobind.h>

namespace rewardshift::bindings {

namespace nb = nanobind;

void register_errors(nb::module_& m);
void register_options(nb::module_& m);
void register_rule(nb::module_& m);
void register_system(nb::module_& m);
void register_model(nb::module_& m);
void register_language_model(nb::module_& m);
void register_decoder(nb::module_& m);

}  // namespace rewardshift::bindings
