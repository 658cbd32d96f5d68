/// Mirostat 2.0: keeps the surprise of a text near a target.
#pragma once

#include <vector>

#include "runtime/sample/candidate.h"

namespace lm {

/// Drops tokens that are more surprising than `mu` bits and lets mu follow the surprise that was
/// seen. Source: Basu et al. 2021.
class Mirostat {
 public:
  Mirostat(double tau, double eta) : tau_(tau), eta_(eta), mu_(2.0 * tau) {}

  /// Cuts candidates with their probabilities, best first; leaves one and makes them sum to 1
  /// again.
  void cut(std::vector<Weighted>& sorted) const;
  /// Tells with what probability the token that was taken had been in what `cut` left.
  void took(double p);
  double mu() const { return mu_; }

 private:
  double tau_, eta_, mu_;
};

}  // namespace lm
