/// What `lm bench` prints: rows of figures, as tables or JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backends/op_work.h"
#include "backends/roofs.h"
#include "runtime/bench/host_cost.h"
#include "runtime/bench/step_bench.h"

namespace lm::cmd {

/// Figures of one test over its repetitions. Times, work and ops are means over them.
struct BenchRow {
  std::string test;
  double tok_s = 0, p10 = 0, p90 = 0;
  double seconds = 0;           ///< a repetition
  double sampling_seconds = 0;  ///< of these
  std::uint32_t n_step = 0;
  OpWork work;
  std::vector<OpShare> ops;           ///< with --ops
  std::string logits_hash;            ///< SHA-256 of the last logits' f32 bytes; empty: none
  std::optional<double> nmse = {};    ///< of them against the reference backend's; tiny models only
  std::optional<HostCost> host = {};  ///< of generation
};

/// Prints all rows with what is known of the machine's roofs. `ops`: a table of ops for each row.
void print_bench(const std::vector<BenchRow>& rows, const std::optional<Roofs>& roofs, bool ops,
                 bool json);

}  // namespace lm::cmd
