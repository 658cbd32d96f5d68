#include "runtime/plan/memory_plan.h"

#include <algorithm>

#include "runtime/kv/sequence.h"

namespace lm {
namespace {

std::uint64_t pages_of(std::uint64_t tokens) {
  return (tokens + kPageTokens - 1) / kPageTokens;
}

std::uint64_t whole_pages(const KvDemand& demand) {
  return pages_of(demand.n_ctx) * demand.n_seq;
}

}  // namespace

std::uint64_t memory_margin(std::uint64_t total_bytes) {
  return std::max<std::uint64_t>(256ull << 20, total_bytes / 50);
}

std::uint32_t kv_pages(const KvGroup& group, const KvDemand& demand) {
  const std::uint64_t whole = whole_pages(demand);
  if (group.window == 0) {
    return static_cast<std::uint32_t>(whole);
  }
  const std::uint64_t alive = std::uint64_t{group.window} * demand.n_seq + demand.n_batch;
  return static_cast<std::uint32_t>(std::min(whole, pages_of(alive)));
}

std::uint32_t kv_spare_pages(const KvGroup& group, const KvDemand& demand) {
  std::uint64_t spare = demand.n_seq;
  if (group.window > 0) {
    const std::uint64_t edges = pages_of(std::uint64_t{kMaxRollBack} * demand.n_seq) + demand.n_seq;
    const std::uint64_t idle =
        (pages_of(group.window + kMaxRollBack) + 1) * std::uint64_t{demand.n_idle_window};
    spare += std::min(edges + idle, whole_pages(demand) - kv_pages(group, demand));
  }
  return static_cast<std::uint32_t>(spare);
}

std::vector<DeviceBytes> memory_plan(const KvLayout& kv, const WorkBytes& work,
                                     const KvDemand& demand) {
  std::vector<DeviceBytes> result(work.arena.size());
  for (std::uint16_t d = 0; d < result.size(); ++d) {
    result[d].arena = work.arena[d] + work.constants[d];
    result[d].scratch = work.scratch[d];
    for (const KvGroup& group : kv.groups) {
      result[d].kv += group.page_bytes[d] * kv_pages(group, demand);
      result[d].spare += group.page_bytes[d] * kv_spare_pages(group, demand);
    }
    if (d < kv.state_slot_bytes.size()) {
      result[d].kv += kv.state_slot_bytes[d] * state_slots(demand.n_seq);
    }
  }
  return result;
}

}  // namespace lm
