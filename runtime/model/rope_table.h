/// Rotary frequencies of a model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/model/hparams.h"

namespace lm {

struct RopeTable {
  std::vector<float> inv_freq;  ///< [n_rot / 2]: angle of pair j at position p is p * inv_freq[j]
  float magnitude = 1.0f;       ///< factor of cos and sin
};

/// `factors` [n_rot / 2] divide the frequencies (rope_freqs, long or short factors); empty: none.
/// Sources: RoFormer (Su et al. 2021), YaRN (Peng et al. 2023).
RopeTable rope_table(const RopeParams& rope, std::span<const float> factors);

}  // namespace lm
