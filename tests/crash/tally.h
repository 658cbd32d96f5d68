/// How much was tried, over all sweeps of this process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lm::crash {

enum class Tried {
  kill_points,
  random_kills,
  io_faults,
  compound_faults,
  images,
  malloc_faults,
  races
};

/// Adds to the sums, and to what the running test prints of itself.
void count(Tried what, std::uint64_t n = 1);
void count_lost(std::uint64_t n);
void count_leaked(std::uint64_t n);

/// True when LM_FULL_SWEEP is 1: every point. Else a sample.
bool full_sweep();
/// Of 1 to `n_calls`: all in a full sweep (at most `most` of them), else `n_sample`, chosen by
/// LM_SWEEP_SEED (default 1) and `salt`. Sorted, each once.
std::vector<std::uint64_t> points(std::uint64_t n_calls, std::size_t n_sample,
                                  const std::string& salt, std::size_t most = SIZE_MAX);
std::uint64_t sweep_seed();

/// Registers what prints the sums at the end and, after a full sweep of all tests, checks them
/// against the floors.
void print_tally_at_end();

}  // namespace lm::crash
