#include "runtime/plan/memory_plan.h"

#include <algorithm>

#include "runtime/kv/sequence.h"

namespace lm {
namespace {

std::uint32_t pages_of(std::uint64_t tokens) {
  return static_cast<std::uint32_t>((tokens + kPageTokens - 1) / kPageTokens);
}

}  // namespace

std::uint64_t memory_margin(std::uint64_t total_bytes) {
  return std::max<std::uint64_t>(256ull << 20, total_bytes / 50);
}

std::uint32_t kv_pages(const KvGroup& group, std::uint32_t n_ctx, std::uint32_t n_seq,
                       std::uint32_t n_batch) {
  const std::uint64_t whole = std::uint64_t{pages_of(n_ctx)} * n_seq;
  if (group.window == 0) {
    return static_cast<std::uint32_t>(whole);
  }
  // Behind a window pages are given back; what is alive at once is every window and the batch in
  // the making. One page more per sequence, because windows begin inside pages.
  constexpr std::uint32_t kIdle = 2;
  const std::uint64_t n_window = std::uint64_t{n_seq} + kIdle;
  const std::uint64_t alive =
      pages_of((std::uint64_t{group.window} + kMaxRollBack) * n_window + n_batch) + n_window;
  return static_cast<std::uint32_t>(std::min(whole, alive));
}

std::vector<DeviceBytes> memory_plan(const Weights& weights, const KvLayout& kv,
                                     const WorkBytes& work, std::uint32_t n_ctx,
                                     std::uint32_t n_seq, std::uint32_t n_batch) {
  std::vector<DeviceBytes> result(work.arena.size());
  for (std::uint16_t d = 0; d < result.size(); ++d) {
    result[d].weights = weights.bytes(d);
    result[d].arena = work.arena[d];
    result[d].scratch = work.scratch[d];
    for (const KvGroup& group : kv.groups) {
      result[d].kv += group.page_bytes[d] * kv_pages(group, n_ctx, n_seq, n_batch);
    }
    if (d < kv.state_slot_bytes.size()) {
      result[d].kv += kv.state_slot_bytes[d] * state_slots(n_seq);
    }
  }
  return result;
}

}  // namespace lm
