#include "runtime/model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lm {
namespace {

constexpr double kBetaFast = 32.0;
constexpr double kBetaSlow = 1.0;

/// Dimension (as a pair index) whose wavelength turns `rotations` times within the original
/// context.
double correction_dim(const Hparams& h, double rotations) {
  return h.n_rot * std::log(h.n_ctx_orig / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(h.rope_freq_base));
}

}  // namespace

RopeTable rope_table(const Hparams& h, std::span<const float> factors) {
  RopeTable table;
  table.magnitude = h.rope_attn_factor;
  const bool yarn = h.rope_scaling == RopeScaling::yarn;
  // No scaling type but "none" leaves the factor out: files with only a factor mean linear.
  const double factor =
      h.rope_scaling == RopeScaling::none || h.rope_scaling == RopeScaling::longrope
          ? 1.0
          : static_cast<double>(h.rope_factor);
  double low = 0.0;
  double high = 0.0;
  if (yarn) {
    low = std::max(0.0, std::floor(correction_dim(h, kBetaFast)));
    high = std::min(h.n_rot - 1.0, std::ceil(correction_dim(h, kBetaSlow)));
    table.magnitude = static_cast<float>(table.magnitude * (1.0 + 0.1 * std::log(factor)));
  }
  for (std::uint32_t j = 0; j < h.n_rot / 2; ++j) {
    double freq = std::pow(static_cast<double>(h.rope_freq_base), -2.0 * j / h.n_rot);
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
