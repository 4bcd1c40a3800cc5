// Values out of a fuzzer's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace rewardshift::fuzz {

/// Hands out the bytes of one input from front to back; zeros once they are used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  /// Any bit pattern: of a float, NaNs, infinities and denormals too.
  template <class T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const std::size_t n = sizeof(T) < left_ ? sizeof(T) : left_;
    std::memcpy(&value, data_, n);
    data_ += n;
    left_ -= n;
    return value;
  }

  /// A number in [0, most].
  std::size_t at_most(std::size_t most) { return take<std::uint16_t>() % (most + 1); }

  std::string text(std::size_t longest) {
    std::string result(at_most(longest), '\0');
    for (char& c : result) c = take<char>();
    return result;
  }

  template <class T>
  std::vector<T> values(std::size_t n) {
    std::vector<T> result(n);
    for (T& value : result) value = take<T>();
    return result;
  }

  bool is_empty() const { return left_ == 0; }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

/// Ends the process, which the fuzzer reports with its input, unless ok.
inline void check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace rewardshift::fuzz
