#include "runtime/model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lm {
namespace {

/// Dimension (as a pair index) whose wavelength turns `rotations` times within the original
/// context.
double correction_dim(const RopeParams& rope, double rotations) {
  return rope.n_rot * std::log(rope.n_ctx_orig / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(static_cast<double>(rope.freq_base)));
}

/// How much YaRN raises cosines and sines; a log multiplier (DeepSeek-V2, Mistral 3) weakens it.
double yarn_magnitude(const RopeParams& rope, double factor) {
  const auto gain = [factor](double multiplier) {
    return factor <= 1.0 ? 1.0 : 1.0 + 0.1 * multiplier * std::log(factor);
  };
  const auto multiplier = static_cast<double>(rope.yarn_log_multiplier);
  return multiplier == 0.0 ? gain(1.0) : gain(1.0) / gain(multiplier);
}

}  // namespace

RopeTable rope_table(const RopeParams& rope, std::span<const float> factors) {
  RopeTable table;
  table.magnitude = rope.attn_factor;
  const bool yarn = rope.scaling == RopeScaling::yarn;
  // No scaling type but "none" leaves the factor out: files with only a factor mean linear.
  const double factor = rope.scaling == RopeScaling::none || rope.scaling == RopeScaling::longrope
                            ? 1.0
                            : static_cast<double>(rope.factor);
  double low = 0.0;
  double high = 0.0;
  if (yarn) {
    low = std::max(0.0, std::floor(correction_dim(rope, rope.yarn_beta_fast)));
    high = std::min(rope.n_rot - 1.0, std::ceil(correction_dim(rope, rope.yarn_beta_slow)));
    table.magnitude = static_cast<float>(table.magnitude * yarn_magnitude(rope, factor));
  }
  for (std::uint32_t j = 0; j < rope.n_rot / 2; ++j) {
    double freq = std::pow(static_cast<double>(rope.freq_base), -2.0 * j / rope.n_rot);
    if (!factors.empty()) {
      freq /= static_cast<double>(factors[j]);
    }
    const double mix =
        yarn ? 1.0 - std::clamp((j - low) / std::max(0.001, high - low), 0.0, 1.0) : 0.0;
    table.inv_freq.push_back(static_cast<float>(freq / factor * (1.0 - mix) + freq * mix));
  }
  return table;
}

}  // namespace lm
