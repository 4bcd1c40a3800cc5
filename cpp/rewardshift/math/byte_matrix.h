// Matrices with weights of a byte, as the heads' files hold them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rewardshift {

/// y_j = scale_j sum_i x_i W_ij, of whole numbers W from -128 to 127.
class ByteMatrix {
 public:
  ByteMatrix() = default;

  /// `weights`: a row of out weights for each of the inputs. `what` is for errors. Throws
  /// std::invalid_argument unless the sizes go together and are at least 1, and all scales finite.
  ByteMatrix(std::size_t in, std::vector<std::int8_t> weights, std::vector<float> scale,
             const char* what);

  std::size_t in() const { return in_; }
  std::size_t out() const { return scale_.size(); }

  /// A row of out() values for each in() inputs, one row after another.
  void multiply(std::span<const float> inputs, std::vector<float>& out) const;

  /// The weights of one output: in() values.
  void column(std::size_t output, std::span<float> values) const;

 private:
  std::size_t in_ = 0;
  std::vector<std::int8_t> weights_;
  std::vector<float> scale_;
};

/// Throws std::invalid_argument, naming `what` of a head, unless there are `size` finite values.
void require_finite(std::span<const float> values, std::size_t size, const char* what);

}  // namespace rewardshift
