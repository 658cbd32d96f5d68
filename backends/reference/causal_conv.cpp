#include "backends/reference/context.h"

namespace lm::reference {

void run(const ops::CausalConv& op, const Context& c) {
  const std::uint32_t n = op.out.cols;
  const std::uint32_t taps = op.weight.cols;
  const std::uint32_t before = taps - 1;
  for (std::uint32_t s = 0; s < c.step.n_seq; ++s) {
    const std::uint32_t begin = c.step.seq_row[s];
    const std::uint32_t rows = c.step.seq_row[s + 1] - begin;
    if (rows == 0) {
      continue;
    }
    float* state = c.state(op.state, s);
    for (std::uint32_t channel = 0; channel < n; ++channel) {
      const float* w = c.f32(op.weight, channel);
      // The channel's inputs in order: those of the state, then the step's.
      std::vector<float> input(before + rows);
      for (std::uint32_t i = 0; i < before; ++i) {
        input[i] = state[std::uint64_t{i} * n + channel];
      }
      for (std::uint32_t t = 0; t < rows; ++t) {
        input[before + t] = c.f32(op.x, begin + t)[channel];
      }
      for (std::uint32_t t = 0; t < rows; ++t) {
        double sum = 0.0;
        for (std::uint32_t j = 0; j < taps; ++j) {
          sum += static_cast<double>(w[j]) * input[t + j];
        }
        c.f32(op.out, begin + t)[channel] = static_cast<float>(activate(op.act, sum));
      }
      for (std::uint32_t i = 0; i < before; ++i) {
        state[std::uint64_t{i} * n + channel] = input[rows + i];
      }
    }
  }
}

}  // namespace lm::reference
