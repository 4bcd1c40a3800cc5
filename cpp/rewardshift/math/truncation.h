// Which tokens stay possible. Internal to math/.
#pragma once

#include <span>

#include "rewardshift/math/distribution.h"

namespace rewardshift {

/// Sets to 0 what the truncation cuts; returns the sum of the weights that stay.
double truncate(std::span<float> weights, double sum, const Truncation& truncation,
                Workspace& workspace);

}  // namespace rewardshift
