#include "runtime/engine/loader.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lm {
namespace {

/// Less than this share of what a plan wanted is offered to the next one.
constexpr double kRetryShare = 0.9;

class Loading {
 public:
  Loading(const std::shared_ptr<const GgufFile>& file,
          std::vector<std::shared_ptr<Backend>> devices, const LoadWish& wish,
          const StartOnModel& start)
      : file_(file), devices_(std::move(devices)), wish_(wish), start_(start) {}

  Result<LoadOutcome> run();

 private:
  Result<void> load(const std::vector<std::shared_ptr<Backend>>& devices,
                    const SessionOptions& session, const Placement& placement);
  Result<void> on_one_device(const std::shared_ptr<Backend>& device);
  Result<LoadPlan> plan(const ModelShape& shape) const;
  void lower_limits(const LoadPlan& failed, const Error& why);

  const std::shared_ptr<const GgufFile>& file_;
  std::vector<std::shared_ptr<Backend>> devices_;
  const LoadWish& wish_;
  const StartOnModel& start_;
  std::vector<std::optional<std::uint64_t>> limits_;  ///< [device] bytes, after a refusal
  LoadOutcome outcome_;
};

Result<void> Loading::load(const std::vector<std::shared_ptr<Backend>>& devices,
                           const SessionOptions& session, const Placement& placement) {
  LM_TRY(outcome_.model, Model::load(file_, {.devices = devices,
                                             .placement = placement,
                                             .need_tokenizer = wish_.need_tokenizer}));
  SessionOptions placed = session;
  placed.placement = placement;
  if (auto started = start_(outcome_.model, placed); !started) {
    outcome_.model.reset();
    return started;
  }
  return {};
}

/// The session solves for the context itself and reads what does not fit from the file.
Result<void> Loading::on_one_device(const std::shared_ptr<Backend>& device) {
  outcome_.gpu_layers = 0;
  return load({device}, wish_.session, {});
}

Result<LoadPlan> Loading::plan(const ModelShape& shape) const {
  std::vector<PlanDevice> now;
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    now.push_back(plan_device(devices_[d]));
    now.back().free_bytes = std::min(now.back().free_bytes, limits_[d].value_or(~0ull));
  }
  return plan_load(shape, now,
                   {.n_ctx = wish_.session.n_ctx,
                    .n_seq = wish_.session.n_seq_guaranteed,
                    .n_batch = wish_.session.n_batch,
                    .kv_type = wish_.session.kv_type,
                    .gpu_layers = wish_.gpu_layers,
                    .max_vram = wish_.max_vram,
                    .gpu_overhead = wish_.gpu_overhead});
}

/// The device that refused gets less than it was to carry, so that the next plan is another one.
void Loading::lower_limits(const LoadPlan& failed, const Error& why) {
  bool named = false;
  for (std::size_t d = 0; d + 1 < devices_.size(); ++d) {
    named = named || why.subject == devices_[d]->info().id;
  }
  for (std::size_t d = 0; d + 1 < devices_.size(); ++d) {
    const DeviceInfo info = devices_[d]->info();
    if (named && why.subject != info.id) {
      continue;
    }
    const auto wanted = static_cast<double>(failed.bytes[d].total());
    const std::uint64_t kept = memory_margin(info.total_bytes) + wish_.gpu_overhead;
    limits_[d] = kept + static_cast<std::uint64_t>(kRetryShare * wanted);
  }
}

Result<LoadOutcome> Loading::run() {
  if (devices_.empty()) {
    return fail(ErrorCode::invalid_argument, "devices", "a model needs at least one device");
  }
  if (devices_.size() == 1) {
    LM_CHECK(on_one_device(devices_.front()));
    return std::move(outcome_);
  }
  LM_TRY(const ModelShape shape, ModelShape::read(*file_));
  limits_.resize(devices_.size());
  const bool asked_for_none = wish_.gpu_layers == 0u;
  Error last;
  for (std::uint32_t attempt = 0; attempt <= kMaxReplans; ++attempt) {
    LM_TRY(const LoadPlan planned, plan(shape));
    outcome_.reasons = planned.reasons;
    if (planned.gpu_layers == 0) {
      if (wish_.gpu_required && !asked_for_none) {
        return fail(ErrorCode::out_of_memory, devices_.front()->info().id,
                    fmt::format("can't take a part of {}: {}", file_->name(),
                                fmt::join(planned.reasons, "; ")),
                    "use --backend auto or cpu, a smaller --ctx or a lower quant");
      }
      if (!outcome_.replans.empty()) {
        outcome_.replans.emplace_back("everything runs on the CPU");
      }
      LM_CHECK(on_one_device(devices_.back()));
      return std::move(outcome_);
    }
    if (!planned.fits && !planned.from_disk) {
      return fail(ErrorCode::out_of_memory, file_->name(),
                  fmt::format("does not fit: {}", fmt::join(planned.reasons, "; ")),
                  "lower --gpu-layers or --ctx, or leave them to lm");
    }
    SessionOptions session = wish_.session;
    session.n_ctx = planned.n_ctx;
    auto loaded = load(devices_, session, planned.placement);
    if (loaded) {
      outcome_.gpu_layers = planned.gpu_layers;
      return std::move(outcome_);
    }
    if (loaded.error().code != ErrorCode::out_of_memory) {
      return std::unexpected(std::move(loaded).error());
    }
    last = std::move(loaded).error();
    outcome_.replans.push_back(fmt::format("{} had no room for {} of {} layers ({}): planned again",
                                           last.subject, planned.gpu_layers,
                                           shape.hparams().n_layer, last.problem));
    lower_limits(planned, last);
    if (wish_.gpu_layers) {
      break;  // as asked or not at all
    }
  }
  if (wish_.gpu_required || wish_.gpu_layers) {
    return std::unexpected(std::move(last));
  }
  outcome_.replans.back() =
      fmt::format("{} had no room ({}): everything runs on the CPU", last.subject, last.problem);
  LM_CHECK(on_one_device(devices_.back()));
  return std::move(outcome_);
}

}  // namespace

PlanDevice plan_device(const std::shared_ptr<Backend>& device) {
  const DeviceInfo info = device->info();
  return {.id = info.id,
          .name = info.name,
          .kind = info.kind,
          .total_bytes = info.total_bytes,
          .free_bytes = info.free_bytes,
          .scratch =
              [device](const Segment& segment, std::uint32_t max_rows, std::uint32_t max_outputs) {
                return device->scratch_bytes(segment, max_rows, max_outputs);
              },
          .supports = [device](const Op& op) { return device->supports(op); }};
}

Result<LoadOutcome> load_planned(const std::shared_ptr<const GgufFile>& file,
                                 std::vector<std::shared_ptr<Backend>> devices,
                                 const LoadWish& wish, const StartOnModel& start) {
  return Loading(file, std::move(devices), wish, start).run();
}

}  // namespace lm
