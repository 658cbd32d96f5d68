#include <algorithm>
#include <array>
#include <cmath>

#include "backends/reference/context.h"
#include "backends/reference/route.h"

namespace lm::reference {
namespace {

constexpr double kLeastSum = 0x1p-14;

using Values = std::array<double, kMaxExperts>;

/// p of every expert.
void gate(ExpertGating gating, const float* logits, std::uint32_t n, Values& p) {
  double top = -HUGE_VAL;
  double sum = 0.0;
  for (std::uint32_t e = 0; e < n; ++e) {
    p[e] = logits[e];
    top = std::max(top, p[e]);
  }
  if (gating == ExpertGating::sigmoid) {
    for (std::uint32_t e = 0; e < n; ++e) {
      p[e] = 1.0 / (1.0 + std::exp(-p[e]));
    }
  } else if (gating == ExpertGating::softmax) {
    for (std::uint32_t e = 0; e < n; ++e) {
      p[e] = std::exp(p[e] - top);
      sum += p[e];
    }
    for (std::uint32_t e = 0; e < n; ++e) {
      p[e] /= sum;
    }
  }
}

/// The best of the numbers [0, n) that are not taken, of equals the first; some number even where
/// nothing compares.
template <class Score>
std::uint32_t best_of(std::uint32_t n, const std::array<bool, kMaxExperts>& taken,
                      const Score& score) {
  std::uint32_t best = n;
  for (std::uint32_t i = 0; i < n; ++i) {
    if (!taken[i] && (best == n || score(i) > score(best))) {
      best = i;
    }
  }
  return best;
}

/// Sum of the two best choices of a group.
double group_score(const double* choice, std::uint32_t n) {
  double first = -HUGE_VAL;
  double second = -HUGE_VAL;
  for (std::uint32_t i = 0; i < n; ++i) {
    if (choice[i] > first) {
      second = first;
      first = choice[i];
    } else if (choice[i] > second) {
      second = choice[i];
    }
  }
  return n == 1 ? first : first + second;
}

/// Marks the experts of all groups but the best.
void leave_groups(const ops::MoeRoute& op, const Values& choice,
                  std::array<bool, kMaxExperts>& left) {
  const std::uint32_t size = op.logits.cols / op.n_group;
  Values score;
  std::array<bool, kMaxExperts> kept{};
  for (std::uint32_t g = 0; g < op.n_group; ++g) {
    score[g] = group_score(choice.data() + std::uint64_t{g} * size, size);
  }
  for (std::uint32_t i = 0; i < op.n_group_used; ++i) {
    kept[best_of(op.n_group, kept, [&](std::uint32_t g) { return score[g]; })] = true;
  }
  for (std::uint32_t e = 0; e < op.logits.cols; ++e) {
    left[e] = !kept[e / size];
  }
}

}  // namespace

void route_row(const ops::MoeRoute& op, const float* logits, const float* bias,
               const float* expert_scale, std::int32_t* ids, float* weights) {
  const std::uint32_t n_expert = op.logits.cols;
  const std::uint32_t n_used = op.ids.cols;
  Values p;
  Values choice;
  gate(op.gating, logits, n_expert, p);
  for (std::uint32_t e = 0; e < n_expert; ++e) {
    choice[e] = bias != nullptr ? p[e] + bias[e] : p[e];
  }
  std::array<bool, kMaxExperts> taken{};
  if (op.n_group_used < op.n_group) {
    leave_groups(op, choice, taken);
  }
  Values weight;
  double top = -HUGE_VAL;
  for (std::uint32_t i = 0; i < n_used; ++i) {
    const std::uint32_t e =
        best_of(n_expert, taken, [&](std::uint32_t expert) { return choice[expert]; });
    taken[e] = true;
    ids[i] = static_cast<std::int32_t>(e);
    weight[i] = p[e];
    top = std::max(top, p[e]);
  }
  double sum = 0.0;
  if (op.gating == ExpertGating::softmax_chosen) {
    for (std::uint32_t i = 0; i < n_used; ++i) {
      weight[i] = std::exp(weight[i] - top);
      sum += weight[i];
    }
    for (std::uint32_t i = 0; i < n_used; ++i) {
      weight[i] /= sum;
    }
  }
  sum = 0.0;
  for (std::uint32_t i = 0; i < n_used; ++i) {
    sum += weight[i];
  }
  const double factor = op.normalize ? op.scale / std::max(sum, kLeastSum) : op.scale;
  for (std::uint32_t i = 0; i < n_used; ++i) {
    const double of_expert = expert_scale != nullptr ? expert_scale[ids[i]] : 1.0f;
    weights[i] = static_cast<float>(weight[i] * factor * of_expert);
  }
}

void run(const ops::MoeRoute& op, const Context& c) {
  for (std::uint32_t r = 0; r < c.rows(op.rows); ++r) {
    route_row(op, c.f32(op.logits, r), c.f32(op.bias), c.f32(op.expert_scale),
              reinterpret_cast<std::int32_t*>(c.bytes(op.ids, r)), c.f32(op.weights, r));
  }
}

}  // namespace lm::reference
