/// A tensor that an architecture reads, with the shape that follows from its numbers.
#pragma once

#include <cstdint>
#include <string>

namespace lm {

/// Whether a tensor must or may be there.
enum class Need : std::uint8_t { none, optional, required };

/// Where a tensor is needed.
enum class Role : std::uint8_t {
  embedding,
  output,
  attention,
  ffn,
  experts,
  constant,  ///< read once, on the host
};

struct TensorSpec {
  std::string name;
  std::uint64_t cols = 0;
  std::uint64_t rows = 0;
  bool vector = false;  ///< cols values in any shape, f32 or of a type that can be dequantised
  Need need = Need::required;
  Role role = Role::attention;
  std::uint32_t layer = 0;
  std::uint16_t device = 0;
};

}  // namespace lm
