// Refusing arguments in one manner.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string_view>

namespace rewardshift {

/// Throws std::invalid_argument "<option> must be <range>, not <given>" unless ok.
template <class T>
void require(bool ok, std::string_view option, std::string_view range, const T& given) {
  if (ok) return;
  std::ostringstream message;
  message << option << " must be " << range << ", not " << given;
  throw std::invalid_argument(message.str());
}

}  // namespace rewardshift
