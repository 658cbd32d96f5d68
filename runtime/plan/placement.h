/// Which device carries which part of which layer.
#pragma once

#include <cstdint>
#include <vector>

namespace lm {

enum class Part : std::uint8_t { attention, ffn, experts };

/// (layer, part) -> device number. Empty vectors: everything on device 0.
struct Placement {
  std::vector<std::uint16_t> attention;  ///< [n_layer]: norms, attention and its KV
  std::vector<std::uint16_t> ffn;        ///< [n_layer]: dense FFN, router
  std::vector<std::uint16_t> experts;    ///< [n_layer]
  std::uint16_t embedding = 0;
  std::uint16_t output = 0;

  std::uint16_t of(std::uint32_t layer, Part part) const {
    const auto& v = part == Part::attention ? attention : part == Part::ffn ? ffn : experts;
    return layer < v.size() ? v[layer] : std::uint16_t{0};
  }
  friend bool operator==(const Placement&, const Placement&) = default;
};

}  // namespace lm
