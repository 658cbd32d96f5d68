#include "runtime/plan/work_bytes.h"

#include <algorithm>

namespace lm {
namespace {

constexpr std::uint64_t kLeastBytes = 64;

}  // namespace

std::uint32_t bucket_for(std::uint32_t rows) {
  return *std::lower_bound(kBuckets.begin(), kBuckets.end() - 1, rows);
}

Plan plan_for_bucket(const Architecture& architecture, const ForwardInputs& in,
                     std::uint32_t bucket) {
  return build_plan(architecture, in, bucket, std::min(bucket, kMaxHeadRows));
}

WorkBytes work_bytes(const Architecture& architecture, const ForwardInputs& in,
                     std::uint32_t n_batch, std::span<const ScratchBytes> scratch) {
  const std::vector<std::uint64_t> least(in.n_device, kLeastBytes);
  WorkBytes most{.arena = least, .scratch = least, .constants = least};
  for (const std::uint32_t bucket : kBuckets) {
    const Plan plan = plan_for_bucket(architecture, in, bucket);
    for (std::uint16_t d = 0; d < in.n_device; ++d) {
      most.arena[d] = std::max(most.arena[d], plan.arena_bytes[d]);
      most.constants[d] =
          std::max<std::uint64_t>(most.constants[d], plan.constants[d].size() * sizeof(float));
    }
    for (const auto* segments : {&plan.body, &plan.head}) {
      for (const Segment& segment : *segments) {
        if (!std::holds_alternative<ops::Copy>(segment.ops.front())) {
          std::uint64_t& bytes = most.scratch[segment.device];
          bytes =
              std::max(bytes, scratch[segment.device](segment, plan.max_rows, plan.max_outputs));
        }
      }
    }
    if (bucket >= n_batch) {
      break;
    }
  }
  return most;
}

}  // namespace lm
