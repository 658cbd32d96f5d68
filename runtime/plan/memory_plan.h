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
  std::uint64_t kv = 0;     ///< pages that hold the tokens asked for, and recurrent states
  std::uint64_t spare = 0;  ///< further pages: copies on write, edges of windows, idle windows
  std::uint64_t arena = 0;  ///< activations, and the constants beside them
  std::uint64_t scratch = 0;
  std::uint64_t staging = 0;  ///< host buffers for uploads to other devices
  std::uint64_t total() const { return weights + kv + spare + arena + scratch + staging; }
};

/// Work memory of a session on each device: the most that any of its plans needs. Every device gets
/// some of each, so that no buffer of a plan is empty.
struct WorkBytes {
  std::vector<std::uint64_t> arena;
  std::vector<std::uint64_t> scratch;
  std::vector<std::uint64_t> constants;  ///< rope tables
};

/// Margin that a plan leaves free on a device: the larger of 256 MiB and 2 %.
std::uint64_t memory_margin(std::uint64_t total_bytes);

/// What the page pool must be able to carry.
struct KvDemand {
  std::uint32_t n_ctx = 0;
  std::uint32_t n_seq = 1;
  std::uint32_t n_batch = 512;
  /// Windows of sequences that nobody works on, kept because later requests may begin from them.
  std::uint32_t n_idle_window = 0;
};

/// Pages of one group that hold tokens: all of every sequence; behind a window they are given back,
/// so that windows and one batch are left.
std::uint32_t kv_pages(const KvGroup& group, const KvDemand& demand);
/// Pages beyond these: one a sequence for the copy that a shared last page needs, what may be
/// rolled back, windows that begin and end inside pages, idle windows.
std::uint32_t kv_spare_pages(const KvGroup& group, const KvDemand& demand);

/// Slots of recurrent state for `n_seq` sequences: as many again and two more for snapshots.
constexpr std::uint32_t state_slots(std::uint32_t n_seq) {
  return 2 * n_seq + 2;
}

/// KV and work memory on every device; weights and staging are left to the caller.
std::vector<DeviceBytes> memory_plan(const KvLayout& kv, const WorkBytes& work,
                                     const KvDemand& demand);

}  // namespace lm
