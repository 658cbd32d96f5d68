/// From an open model file to weights on the devices that carry them: planned from what is free at
/// this moment, and planned again where a device turns out to have less than it said.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/engine/session.h"
#include "runtime/model/model.h"
#include "runtime/plan/planner.h"

namespace lm {

/// How often a load is planned again after a device had no room; then the CPU takes it all.
inline constexpr std::uint32_t kMaxReplans = 4;

struct LoadWish {
  SessionOptions session;  ///< context, KV type, batch, sequences; the placement is solved for
  std::optional<std::uint32_t> gpu_layers = {};
  std::optional<std::uint64_t> max_vram = {};  ///< bytes on each GPU at most
  std::uint64_t gpu_overhead = 0;              ///< left free on each GPU beside the margin
  bool gpu_required = false;  ///< the user named a GPU: without it the load is an error
  bool need_tokenizer = true;
};

struct LoadOutcome {
  std::shared_ptr<const Model> model;
  std::uint32_t gpu_layers = 0;
  std::vector<std::string> reasons;  ///< what went where and why, for people who ask
  std::vector<std::string> replans;  ///< what did not go as planned, for everybody
};

/// Builds what runs on the weights (a session or an engine). Its out_of_memory is planned around
/// like that of the weights.
using StartOnModel =
    std::function<Result<void>(std::shared_ptr<const Model> model, const SessionOptions& session)>;

/// `device` as the planner wants to know it, with what is free now.
PlanDevice plan_device(const std::shared_ptr<Backend>& device);

/// `devices`: GPUs first, the CPU last; or one device, which then carries all. Errors: those of
/// Model::load and of `start`; out_of_memory with the plan's reasons where even the last plan has
/// no room, or where `gpu_required` and no GPU can take a part.
Result<LoadOutcome> load_planned(const std::shared_ptr<const GgufFile>& file,
                                 std::vector<std::shared_ptr<Backend>> devices,
                                 const LoadWish& wish, const StartOnModel& start);

}  // namespace lm
