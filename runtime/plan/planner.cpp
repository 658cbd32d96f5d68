#include "runtime/plan/planner.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "runtime/kv/sequence.h"

namespace lm {
namespace {

/// Upload buffers in host memory, two in turn (gpu.md 5).
constexpr std::uint64_t kStagingBytes = 2ull * (64ull << 20);
constexpr std::uint32_t kIdleWindows = 2;

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1ull << 30));
}

/// How many layers, counted from the last, are on GPUs, and how many of these with their experts.
struct Split {
  std::uint32_t layers = 0;
  std::uint32_t expert_layers = 0;
};

/// A split on concrete devices, with the bytes it takes.
struct Candidate {
  Placement placement;
  std::vector<DeviceBytes> bytes;
};

class Planner {
 public:
  Planner(const ModelShape& shape, std::span<const PlanDevice> devices, const PlanWish& wish)
      : shape_(shape), devices_(devices), wish_(wish), n_layer_(shape.hparams().n_layer) {
    for (const PlanDevice& device : devices) {
      std::uint64_t free = device.free_bytes;
      std::uint64_t kept = memory_margin(device.total_bytes);
      if (device.is_gpu()) {
        free = std::min(free, wish.max_vram.value_or(free));
        kept += wish.gpu_overhead;
      }
      budget_.push_back(free > kept ? free - kept : 0);
      // The host's own mapping is used in place.
      copied_.push_back(device.is_gpu());
    }
    host_ = static_cast<std::uint16_t>(devices.size() - 1);
    for (std::uint16_t d = 0; d < host_; ++d) {
      if (devices[d].unified) {
        budget_[d] = std::min(budget_[d], budget_[host_]);
      }
    }
  }

  Result<LoadPlan> plan();

 private:
  bool automatic() const { return wish_.n_ctx == 0; }
  std::uint32_t trained() const { return shape_.hparams().n_ctx_train; }
  std::uint64_t gpu_budget() const {
    return std::accumulate(budget_.begin(), budget_.end() - 1, std::uint64_t{0});
  }
  bool moe() const { return shape_.has_experts(); }

  std::vector<std::uint32_t> shares(std::uint32_t layers) const;
  Placement placement_of(const Split& split, const std::vector<std::uint32_t>& per_gpu) const;
  Result<const WorkBytes*> work_of(const Placement& placement, const KvLayout& kv);
  Result<Candidate> measure(const Split& split, const std::vector<std::uint32_t>& per_gpu,
                            std::uint32_t n_ctx);
  /// The split on these devices, in proportion to their budgets, else shifted until each holds its
  /// part; the last try where none does.
  Result<Candidate> place(const Split& split, std::uint32_t n_ctx);
  bool gpus_hold(const Candidate& candidate) const;
  bool host_holds(const Candidate& candidate, bool with_weights) const;

  /// Looks which parts the GPUs have ops for: without those of a dense layer a GPU is left out.
  Result<void> find_abilities();
  /// The first op under a placement that its GPU can't run, in words; empty where there is none.
  Result<std::string> obstacle(const Placement& placement) const;
  Result<Split> most_on_gpu(std::uint32_t n_ctx);
  Result<std::uint32_t> longest_context(const Split& split, std::uint32_t floor);

  void explain(LoadPlan& plan, const Split& split) const;
  void explain_shortage(LoadPlan& plan) const;

  const ModelShape& shape_;
  std::span<const PlanDevice> devices_;
  const PlanWish& wish_;
  std::uint32_t n_layer_;
  std::uint16_t host_ = 0;
  std::vector<std::uint64_t> budget_;
  std::vector<bool> copied_;
  bool experts_run_on_gpu_ = true;
  std::vector<std::string> obstacles_;
  std::map<std::vector<std::uint16_t>, WorkBytes> work_;  ///< by placement
};

/// Layers for each GPU, `layers` in all, in proportion to the budgets.
std::vector<std::uint32_t> Planner::shares(std::uint32_t layers) const {
  std::vector<std::uint32_t> result(host_, 0);
  const double all = static_cast<double>(std::max<std::uint64_t>(gpu_budget(), 1));
  double target = 0;
  std::uint32_t given = 0;
  for (std::uint16_t d = 0; d < host_; ++d) {
    target += static_cast<double>(budget_[d]) / all * layers;
    const auto upto = d + 1 == host_ ? layers : static_cast<std::uint32_t>(target + 0.5);
    result[d] = std::min(upto, layers) - given;
    given += result[d];
  }
  return result;
}

Placement Planner::placement_of(const Split& split,
                                const std::vector<std::uint32_t>& per_gpu) const {
  Placement placement;
  placement.attention.assign(n_layer_, host_);
  std::uint32_t layer = n_layer_ - split.layers;
  for (std::uint16_t d = 0; d < host_; ++d) {
    for (std::uint32_t i = 0; i < per_gpu[d]; ++i) {
      placement.attention[layer++] = d;
    }
  }
  placement.ffn = placement.attention;
  placement.experts = placement.attention;
  for (std::uint32_t il = 0; moe() && il < n_layer_ - split.expert_layers; ++il) {
    placement.experts[il] = host_;
  }
  placement.output = split.layers > 0 ? placement.attention.back() : host_;
  // A tied table is on the GPU for the output anyway; any other is read a row a token.
  placement.embedding = shape_.tied() && split.layers == n_layer_ ? placement.output : host_;
  return placement;
}

Result<const WorkBytes*> Planner::work_of(const Placement& placement, const KvLayout& kv) {
  std::vector<std::uint16_t> key = placement.attention;
  key.insert(key.end(), placement.experts.begin(), placement.experts.end());
  key.push_back(placement.embedding);
  if (const auto known = work_.find(key); known != work_.end()) {
    return &known->second;
  }
  std::vector<ScratchBytes> scratch;
  for (const PlanDevice& device : devices_) {
    scratch.push_back(device.scratch ? device.scratch
                                     : [](const Segment&, std::uint32_t, std::uint32_t) {
                                         return std::uint64_t{0};
                                       });
  }
  const ForwardInputs in =
      shape_.forward_inputs(placement, kv, static_cast<std::uint16_t>(devices_.size()), trained());
  return &work_
              .emplace(std::move(key),
                       work_bytes(shape_.architecture(), in, wish_.n_batch, scratch))
              .first->second;
}

Result<Candidate> Planner::measure(const Split& split, const std::vector<std::uint32_t>& per_gpu,
                                   std::uint32_t n_ctx) {
  Candidate candidate{placement_of(split, per_gpu), {}};
  LM_TRY(const KvLayout kv, kv_layout(shape_.hparams(), candidate.placement,
                                      static_cast<std::uint16_t>(devices_.size()), wish_.kv_type));
  LM_TRY(const WorkBytes* const work, work_of(candidate.placement, kv));
  const auto n_batch = shape_.hparams().needs_whole_text() ? n_ctx : wish_.n_batch;
  KvDemand demand{.n_ctx = n_ctx,
                  .n_seq = std::max(wish_.n_seq, 1u),
                  .n_batch = n_batch,
                  .n_idle_window = kIdleWindows};
  const std::vector<std::uint64_t> weights = shape_.weight_bytes(candidate.placement, copied_);
  const auto sum = [&] {
    candidate.bytes = memory_plan(kv, *work, demand);
    for (std::size_t d = 0; d < devices_.size(); ++d) {
      candidate.bytes[d].weights = weights[d];
    }
    if (split.layers > 0) {
      candidate.bytes[host_].staging = kStagingBytes;
    }
  };
  sum();
  if (!gpus_hold(candidate) || !host_holds(candidate, true)) {
    demand.n_idle_window = 0;
    sum();
  }
  return candidate;
}

bool Planner::gpus_hold(const Candidate& candidate) const {
  for (std::uint16_t d = 0; d < host_; ++d) {
    const bool used = candidate.bytes[d].weights + candidate.bytes[d].kv > 0;
    if (used && candidate.bytes[d].total() > budget_[d]) {
      return false;
    }
  }
  return true;
}

/// The host's part, and that of GPUs which share its memory.
bool Planner::host_holds(const Candidate& candidate, bool with_weights) const {
  std::uint64_t need = candidate.bytes[host_].total();
  if (!with_weights) {
    need -= candidate.bytes[host_].weights;
  }
  for (std::uint16_t d = 0; d < host_; ++d) {
    need += devices_[d].unified ? candidate.bytes[d].total() : 0;
  }
  return need <= budget_[host_];
}

Result<Candidate> Planner::place(const Split& split, std::uint32_t n_ctx) {
  std::vector<std::uint32_t> per_gpu = shares(split.layers);
  // Each round moves one layer from a GPU that is too full to the one with most room.
  for (std::uint32_t round = 0;; ++round) {
    LM_TRY(Candidate candidate, measure(split, per_gpu, n_ctx));
    if (host_ < 2 || round == n_layer_ || gpus_hold(candidate)) {
      return candidate;
    }
    std::optional<std::uint16_t> from;
    std::uint16_t to = 0;
    std::int64_t most = std::numeric_limits<std::int64_t>::min();
    for (std::uint16_t d = 0; d < host_; ++d) {
      const auto room = static_cast<std::int64_t>(budget_[d]) -
                        static_cast<std::int64_t>(candidate.bytes[d].total());
      if (room < 0 && per_gpu[d] > 0) {
        from = d;
      }
      if (room > most) {
        most = room;
        to = d;
      }
    }
    if (!from || *from == to || most <= 0) {
      return candidate;
    }
    --per_gpu[*from];
    ++per_gpu[to];
  }
}

Result<std::string> Planner::obstacle(const Placement& placement) const {
  const auto n_device = static_cast<std::uint16_t>(devices_.size());
  LM_TRY(const KvLayout kv, kv_layout(shape_.hparams(), placement, n_device, wish_.kv_type));
  const Plan plan =
      plan_for_bucket(shape_.architecture(),
                      shape_.forward_inputs(placement, kv, n_device, trained()), kBuckets.front());
  for (const auto* segments : {&plan.body, &plan.head}) {
    for (const Segment& segment : *segments) {
      const PlanDevice& device = devices_[segment.device];
      for (const Op& op : segment.ops) {
        if (device.is_gpu() && device.supports && !std::holds_alternative<ops::Copy>(op) &&
            !device.supports(op)) {
          return fmt::format("{} has no {} for this model", device.id, op_name(op));
        }
      }
    }
  }
  return std::string();
}

Result<void> Planner::find_abilities() {
  for (std::uint16_t d = 0; d < host_; ++d) {
    std::vector<std::uint32_t> per_gpu(host_, 0);
    per_gpu[d] = n_layer_;
    LM_TRY(std::string missing, obstacle(placement_of({n_layer_, n_layer_}, per_gpu)));
    if (!missing.empty() && moe()) {
      LM_TRY(std::string dense, obstacle(placement_of({n_layer_, 0}, per_gpu)));
      if (dense.empty()) {
        experts_run_on_gpu_ = false;
        obstacles_.push_back(missing + ": experts stay on the CPU");
        continue;
      }
      missing = std::move(dense);
    }
    if (!missing.empty()) {
      budget_[d] = 0;
      obstacles_.push_back(missing + ": it is left out");
    }
  }
  return {};
}

/// The largest split that GPUs hold: dense parts of as many layers as possible, then experts.
Result<Split> Planner::most_on_gpu(std::uint32_t n_ctx) {
  const auto holds = [&](const Split& split) -> Result<bool> {
    LM_TRY(const Candidate candidate, place(split, n_ctx));
    return gpus_hold(candidate) && host_holds(candidate, false);
  };
  const auto largest = [](std::uint32_t low, std::uint32_t high,
                          auto&& ok) -> Result<std::uint32_t> {
    // `low` holds.
    while (low < high) {
      const std::uint32_t middle = low + (high - low + 1) / 2;
      LM_TRY(const bool good, ok(middle));
      low = good ? middle : low;
      high = good ? high : middle - 1;
    }
    return low;
  };
  Split split;
  LM_TRY(split.layers, largest(0, n_layer_, [&](std::uint32_t n) { return holds({n, 0}); }));
  if (!moe()) {
    split.expert_layers = split.layers;
    return split;
  }
  if (split.layers == n_layer_ && experts_run_on_gpu_) {
    LM_TRY(split.expert_layers,
           largest(0, n_layer_, [&](std::uint32_t n) { return holds({n_layer_, n}); }));
  }
  return split;
}

/// The longest context, in pages, that the split leaves room for; at least `floor`.
Result<std::uint32_t> Planner::longest_context(const Split& split, std::uint32_t floor) {
  std::uint32_t low = floor / kPageTokens;
  std::uint32_t high = std::max(trained() / kPageTokens, low);
  while (low < high) {
    const std::uint32_t middle = low + (high - low + 1) / 2;
    LM_TRY(const Candidate candidate, place(split, middle * kPageTokens));
    const bool good = gpus_hold(candidate) && host_holds(candidate, true);
    low = good ? middle : low;
    high = good ? high : middle - 1;
  }
  return low == trained() / kPageTokens ? trained() : std::max(low * kPageTokens, floor);
}

Result<LoadPlan> Planner::plan() {
  const std::uint32_t floor = automatic() ? context_floor(shape_.hparams()) : wish_.n_ctx;
  LM_CHECK(find_abilities());
  Split split;
  if (wish_.gpu_layers) {
    split.layers = host_ > 0 ? std::min(*wish_.gpu_layers, n_layer_) : 0;
    split.expert_layers = moe() && !experts_run_on_gpu_ ? 0 : split.layers;
    LM_TRY(Candidate candidate, place(split, floor));
    while (moe() && split.expert_layers > 0 && !gpus_hold(candidate)) {
      --split.expert_layers;
      LM_TRY(candidate, place(split, floor));
    }
  } else if (gpu_budget() > 0) {
    LM_TRY(split, most_on_gpu(floor));
  }
  LoadPlan plan;
  plan.n_ctx = floor;
  const bool all_on_gpu = split.layers == n_layer_ && split.expert_layers == n_layer_;
  if (automatic() && (split.layers == 0 || all_on_gpu || wish_.gpu_layers)) {
    LM_TRY(plan.n_ctx, longest_context(split, floor));
  }
  LM_TRY(Candidate chosen, place(split, plan.n_ctx));
  const bool gpus_fit = gpus_hold(chosen);
  plan.fits = gpus_fit && host_holds(chosen, true);
  plan.from_disk = gpus_fit && !plan.fits && host_holds(chosen, false);
  plan.placement = std::move(chosen.placement);
  plan.bytes = std::move(chosen.bytes);
  plan.budget = budget_;
  plan.gpu_layers = split.layers;
  plan.gpu_expert_layers = moe() ? split.expert_layers : split.layers;
  plan.output_on_gpu = split.layers > 0;
  plan.reasons = obstacles_;
  explain(plan, split);
  if (!plan.fits) {
    explain_shortage(plan);
  }
  return plan;
}

void Planner::explain(LoadPlan& plan, const Split& split) const {
  const auto say = [&plan](std::string text) { plan.reasons.push_back(std::move(text)); };
  if (host_ == 0) {
    say("no GPU: everything runs on the CPU");
  } else if (split.layers == 0) {
    say(wish_.gpu_layers ? "no layer on a GPU, as asked"
        : gpu_budget() == 0 && !obstacles_.empty()
            ? "everything runs on the CPU"
            : "no GPU has room for one layer: everything runs on the CPU");
  }
  for (std::uint16_t d = 0; d < host_; ++d) {
    const auto n = static_cast<std::uint32_t>(std::ranges::count(plan.placement.attention, d));
    if (n > 0) {
      say(fmt::format("{}: {} of {} layers{}, {} of {} free", devices_[d].id, n, n_layer_,
                      plan.placement.output == d ? " and the output matrix" : "",
                      gib(plan.bytes[d].total()), gib(budget_[d])));
    }
  }
  if (split.layers > 0 && split.layers < n_layer_) {
    say(fmt::format("{} layers on the CPU: {}", n_layer_ - split.layers,
                    wish_.gpu_layers ? "as asked" : "the GPU is full with the others"));
  }
  if (moe() && split.expert_layers < split.layers) {
    say(
        fmt::format("experts of {} layers on the CPU: attention and router of all layers are "
                    "worth more on the GPU, a token uses {} of {} experts",
                    split.layers - split.expert_layers, shape_.hparams().moe.n_used,
                    shape_.hparams().moe.n_expert));
  }
  if (split.layers > 0 && plan.placement.embedding == host_) {
    say("the embedding table on the CPU: a token reads one row of it");
  }
  if (!automatic()) {
    say(fmt::format("context {}, as asked", plan.n_ctx));
  } else if (plan.n_ctx == trained()) {
    say(fmt::format("context {}: all that the model was trained for", plan.n_ctx));
  } else if (split.layers > 0 && split.layers < n_layer_) {
    say(fmt::format("context {}: kept short so that more layers are on the GPU", plan.n_ctx));
  } else {
    say(fmt::format("context {}: what fits beside the weights, of {} trained", plan.n_ctx,
                    trained()));
  }
}

void Planner::explain_shortage(LoadPlan& plan) const {
  for (std::uint16_t d = 0; d < devices_.size(); ++d) {
    const std::uint64_t need = plan.bytes[d].total();
    if (need > budget_[d] && (d == host_ || plan.bytes[d].weights > 0)) {
      plan.reasons.push_back(
          d == host_ && plan.from_disk
              ? fmt::format("{} of weights are more than the {} that are free: parts are read from "
                            "the disk again for every token",
                            gib(plan.bytes[d].weights), gib(budget_[d]))
              : fmt::format("{} needs {}, {} are free", devices_[d].id, gib(need),
                            gib(budget_[d])));
    }
  }
}

}  // namespace

std::uint64_t LoadPlan::total() const {
  std::uint64_t sum = 0;
  for (const DeviceBytes& device : bytes) {
    sum += device.total();
  }
  return sum;
}

Result<LoadPlan> plan_load(const ModelShape& shape, std::span<const PlanDevice> devices,
                           const PlanWish& wish) {
  const auto is_host = [](const PlanDevice& device) { return !device.is_gpu(); };
  if (devices.empty() || !is_host(devices.back()) || std::ranges::count_if(devices, is_host) != 1) {
    return fail(ErrorCode::invalid_argument, "devices",
                "must be GPUs and, as the last one, the CPU");
  }
  return Planner(shape, devices, wish).plan();
}

}  // namespace lm
