/// Work memory of a session, from the plans that will run.
#pragma once

#include <array>
#include <functional>
#include <span>

#include "runtime/model/forward.h"
#include "runtime/plan/memory_plan.h"

namespace lm {

/// Rows that plans are made for. A step runs in the smallest bucket that holds it.
inline constexpr std::array<std::uint32_t, 14> kBuckets = {1,   2,   4,   8,    16,   32,   64,
                                                           128, 256, 512, 1024, 2048, 4096, 8192};
std::uint32_t bucket_for(std::uint32_t rows);

/// Rows of one run of the head. 32 rows of a 128 k vocabulary are 16 MiB of logits; more rows gain
/// nothing, because a prompt needs one.
inline constexpr std::uint32_t kMaxHeadRows = 32;

/// The plan of one bucket.
Plan plan_for_bucket(const Architecture& architecture, const ForwardInputs& in,
                     std::uint32_t bucket);

/// Work memory of a segment on one device, as Backend::scratch_bytes says it.
using ScratchBytes = std::function<std::uint64_t(const Segment& segment, std::uint32_t max_rows,
                                                 std::uint32_t max_outputs)>;

/// The most that the plan of any bucket up to `n_batch` rows needs; `scratch` by device.
WorkBytes work_bytes(const Architecture& architecture, const ForwardInputs& in,
                     std::uint32_t n_batch, std::span<const ScratchBytes> scratch);

}  // namespace lm
