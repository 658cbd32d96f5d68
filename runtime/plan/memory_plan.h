/// How many bytes a session needs, per device: arithmetic over the tensor table and the plan that
/// will run.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/kv/kv_layout.h"
#include "runtime/model/weights.h"

namespace lm {

struct DeviceBytes {
  std::uint64_t weights = 0;
  std::uint64_t kv = 0;  ///< for the context asked for, recurrent states included
  std::uint64_t arena = 0;
  std::uint64_t scratch = 0;
  std::uint64_t total() const { return weights + kv + arena + scratch; }
};

/// Work memory of a session on each device: the most that any of its plans needs.
struct WorkBytes {
  std::vector<std::uint64_t> arena;
  std::vector<std::uint64_t> scratch;
};

/// Margin that a plan leaves free on a device: the larger of 256 MiB and 2 %.
std::uint64_t memory_margin(std::uint64_t total_bytes);

/// KV pages for `n_seq` sequences of `n_ctx` tokens in one group; a windowed group needs only its
/// windows (and those of two idle sequences that later requests begin from) and one batch.
std::uint32_t kv_pages(const KvGroup& group, std::uint32_t n_ctx, std::uint32_t n_seq,
                       std::uint32_t n_batch);

/// Slots of recurrent state for `n_seq` sequences: as many again and two more for snapshots.
constexpr std::uint32_t state_slots(std::uint32_t n_seq) {
  return 2 * n_seq + 2;
}

/// Bytes on every device for a context.
std::vector<DeviceBytes> memory_plan(const Weights& weights, const KvLayout& kv,
                                     const WorkBytes& work, std::uint32_t n_ctx,
                                     std::uint32_t n_seq, std::uint32_t n_batch);

}  // namespace lm
