#include "runtime/sample/cuts.h"

#include <algorithm>
#include <cmath>

namespace lm {

std::vector<double> softmax(const std::vector<Candidate>& sorted, double temperature) {
  std::vector<double> p(sorted.size());
  const double top = sorted.front().logit;
  double sum = 0.0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    p[i] = std::exp((static_cast<double>(sorted[i].logit) - top) / temperature);
    sum += p[i];
  }
  for (double& value : p) {
    value /= sum;
  }
  return p;
}

void cut_top_p(std::vector<Candidate>& sorted, double top_p) {
  const std::vector<double> p = softmax(sorted);
  double sum = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    sum += p[i];
    if (sum >= top_p) {
      sorted.resize(i + 1);
      return;
    }
  }
}

bool cut_top_p(std::vector<Candidate>& sorted, double top_p, double log_sum) {
  double sum = 0.0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    sum += std::exp(static_cast<double>(sorted[i].logit) - log_sum);
    if (sum >= top_p) {
      sorted.resize(i + 1);
      return true;
    }
  }
  return false;
}

void cut_min_p(std::vector<Candidate>& sorted, double min_p) {
  const double floor = static_cast<double>(sorted.front().logit) + std::log(min_p);
  std::size_t n = 1;
  while (n < sorted.size() && static_cast<double>(sorted[n].logit) >= floor) {
    ++n;
  }
  sorted.resize(n);
}

void cut_typical(std::vector<Candidate>& sorted, double typical_p) {
  const std::vector<double> p = softmax(sorted);
  double entropy = 0.0;
  for (const double value : p) {
    entropy -= value > 0.0 ? value * std::log(value) : 0.0;
  }
  std::vector<std::size_t> order(p.size());
  std::vector<double> distance(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    order[i] = i;
    distance[i] = p[i] > 0.0 ? std::abs(-std::log(p[i]) - entropy) : HUGE_VAL;
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return distance[a] < distance[b]; });
  std::vector<Candidate> kept;
  double sum = 0.0;
  for (const std::size_t i : order) {
    kept.push_back(sorted[i]);
    sum += p[i];
    if (sum >= typical_p) {
      break;
    }
  }
  std::sort(kept.begin(), kept.end(), better);
  sorted = std::move(kept);
}

void cut_xtc(std::vector<Candidate>& sorted, double threshold) {
  const std::vector<double> p = softmax(sorted);
  std::size_t likely = 0;
  while (likely < p.size() && p[likely] >= threshold) {
    ++likely;
  }
  if (likely > 1) {
    sorted.erase(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(likely - 1));
  }
}

}  // namespace lm
