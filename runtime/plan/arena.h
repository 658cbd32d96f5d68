/// Liveness: which activations may share memory.
#pragma once

#include <cstdint>
#include <vector>

namespace lm {

/// One activation and the ops between which it must keep its content (indices in program order,
/// both inclusive).
struct Lifetime {
  std::uint64_t bytes = 0;
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint64_t offset = 0;  ///< set by `place`
};

/// Gives every lifetime an offset so that those alive at the same op never overlap; returns the
/// bytes needed. Offsets are multiples of 256. Larger ones are placed first, each at the lowest
/// offset that is free for its whole life.
std::uint64_t place(std::vector<Lifetime>& lifetimes);

}  // namespace lm
