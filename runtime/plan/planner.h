/// Decides which part of a model goes to which device, how long the context is, and says why. Pure
/// arithmetic: no device is needed, so that it answers for other machines too.
///
/// Order (llama.cpp #16653 has the same): the context shrinks to a floor before a layer leaves the
/// GPU; attention and dense parts of all layers come before experts; then whole layers, the last
/// ones with the output matrix. What the user fixes stays and the rest is solved around it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "runtime/plan/model_shape.h"

namespace lm {

/// A device as the planner needs to know it.
struct PlanDevice {
  std::string id;
  std::string name;
  DeviceKind kind = DeviceKind::cpu;
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  bool unified = false;       ///< a GPU whose memory is the host's
  ScratchBytes scratch = {};  ///< null: counts as none
  /// Whether the device runs an op; null: every one. What it can't run keeps its part off it.
  std::function<bool(const Op&)> supports = {};

  bool is_gpu() const { return kind == DeviceKind::cuda || kind == DeviceKind::vulkan; }
};

/// What is wanted; zeros and empty values are solved for.
struct PlanWish {
  std::uint32_t n_ctx = 0;
  std::uint32_t n_seq = 1;
  std::uint32_t n_batch = 512;
  DType kv_type = DType::f16;
  std::optional<std::uint32_t> gpu_layers = {};
  std::optional<std::uint64_t> max_vram = {};  ///< bytes on each GPU at most
  std::uint64_t gpu_overhead = 0;              ///< left free on each GPU beside the margin
};

struct LoadPlan {
  /// Everything stays in memory that is free now. False with a whole plan: the host's weights are
  /// read from the file again and again (`from_disk`), or nothing of the kind would run.
  bool fits = false;
  bool from_disk = false;
  Placement placement;
  std::uint32_t n_ctx = 0;
  std::uint32_t gpu_layers = 0;         ///< layers whose attention and dense part are on a GPU
  std::uint32_t gpu_expert_layers = 0;  ///< of these, layers whose experts are there too
  bool output_on_gpu = false;
  std::vector<DeviceBytes> bytes;     ///< [device]
  std::vector<std::uint64_t> budget;  ///< [device] free bytes less the margin
  std::vector<std::string> reasons;   ///< in the order of the decisions

  std::uint64_t total() const;
};

/// `devices`: GPUs first, the host's CPU last, exactly one of it. Errors: invalid_argument (no CPU,
/// a KV type that can't hold the heads). A plan that can't run has `fits` and `from_disk` false and
/// says what is missing.
Result<LoadPlan> plan_load(const ModelShape& shape, std::span<const PlanDevice> devices,
                           const PlanWish& wish);

}  // namespace lm
