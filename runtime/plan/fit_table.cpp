#include "runtime/plan/fit_table.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace lm {
namespace {

constexpr std::array<std::uint32_t, 3> kContexts = {4096, 16384, 65536};
/// Above this a token a word is slower than people read.
constexpr double kReadingTokS = 8;
constexpr std::uint32_t kChatContext = 8192;

std::string verdict_of(const ModelShape& shape, std::span<const PlanDevice> devices,
                       const LoadPlan& plan) {
  const std::uint32_t n_layer = shape.hparams().n_layer;
  if (!plan.fits) {
    return plan.from_disk ? "from disk, slow" : "too large";
  }
  if (devices.size() == 1) {
    return "fits";
  }
  if (plan.gpu_layers == 0) {
    return "on the CPU";
  }
  const std::string gpu = devices.size() == 2 ? devices.front().id : "the GPUs";
  if (plan.gpu_layers < n_layer) {
    return fmt::format("{} of {} layers on {}", plan.gpu_layers, n_layer, gpu);
  }
  if (plan.gpu_expert_layers < n_layer) {
    return fmt::format("{}, experts of {} layers on the CPU", gpu,
                       n_layer - plan.gpu_expert_layers);
  }
  return fmt::format("all on {}", gpu);
}

std::uint64_t weights_of(const LoadPlan& plan) {
  std::uint64_t sum = 0;
  for (const DeviceBytes& device : plan.bytes) {
    sum += device.weights;
  }
  return sum;
}

bool all_on_gpu(const FitRow& row) {
  return row.plan.fits && row.plan.gpu_layers > 0 &&
         std::ranges::all_of(row.plan.placement.attention,
                             [&](std::uint16_t d) { return d + 1u < row.plan.bytes.size(); }) &&
         row.plan.gpu_expert_layers == row.plan.gpu_layers;
}

double bits_a_weight(const ModelShape& shape) {
  return 8.0 * static_cast<double>(shape.file().tensor_bytes()) /
         static_cast<double>(std::max<std::uint64_t>(shape.file().parameter_count(), 1));
}

struct Pick {
  std::optional<std::size_t> row;
  std::string reason;
};

/// The best quality that costs nothing else: all on the GPU, or as fast as one reads.
Pick pick(const std::vector<FitRow>& rows, const std::vector<double>& bits, bool has_gpu) {
  Pick best;
  const auto better = [&](std::size_t i) {
    return !best.row || weights_of(rows[i].plan) > weights_of(rows[*best.row].plan);
  };
  // Above eight bits nothing is gained that anyone could see.
  constexpr double kMostBits = 9;
  for (std::size_t i = 0; has_gpu && i < rows.size(); ++i) {
    if (all_on_gpu(rows[i]) && bits[i] <= kMostBits && better(i)) {
      best = {i, "the most precise of at most eight bits that is wholly on the GPU"};
    }
  }
  if (best.row) {
    return best;
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const FitRow& row = rows[i];
    const bool fast = row.speed.decode_tok_s == 0 || row.speed.decode_tok_s >= kReadingTokS;
    if (row.plan.fits && fast && bits[i] <= kMostBits && better(i)) {
      best = {i, "the most precise of at most eight bits that writes faster than one reads"};
    }
  }
  if (best.row) {
    return best;
  }
  // Of those that fit the fastest that still has about four bits.
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].plan.fits && bits[i] >= 4 &&
        (!best.row || weights_of(rows[i].plan) < weights_of(rows[*best.row].plan))) {
      best = {i, "the smallest of about four bits: anything larger is slower"};
    }
  }
  for (std::size_t i = 0; !best.row && i < rows.size(); ++i) {
    if (rows[i].plan.fits) {
      best = {i, "the only kind that fits"};
    }
  }
  return best;
}

/// What a change of wishes would bring for one candidate.
Result<std::vector<std::string>> advise(const FitCandidate& candidate,
                                        std::span<const PlanDevice> devices, const PlanWish& wish,
                                        const LoadPlan& now) {
  std::vector<std::string> advice;
  const auto gains = [&](const LoadPlan& plan) {
    return (plan.fits && !now.fits) || plan.gpu_layers > now.gpu_layers ||
           plan.gpu_expert_layers > now.gpu_expert_layers;
  };
  const auto effect = [&](const LoadPlan& plan) {
    return plan.fits && !now.fits ? std::string("it fits then")
                                  : verdict_of(*candidate.shape, devices, plan) + " then";
  };
  const std::uint32_t floor = context_floor(candidate.shape->hparams());
  if (wish.n_ctx > floor) {
    PlanWish shorter = wish;
    shorter.n_ctx = floor;
    LM_TRY(const LoadPlan plan, plan_load(*candidate.shape, devices, shorter));
    if (gains(plan)) {
      advice.push_back(fmt::format("--ctx {}: {}", floor, effect(plan)));
    }
  }
  for (const DType type : {DType::q8_0, DType::q4_0}) {
    if (layout(type).block_bytes * layout(wish.kv_type).block_elems >=
        layout(wish.kv_type).block_bytes * layout(type).block_elems) {
      continue;
    }
    PlanWish narrow = wish;
    narrow.kv_type = type;
    const auto plan = plan_load(*candidate.shape, devices, narrow);
    if (plan && gains(*plan)) {
      advice.push_back(
          fmt::format("--kv-type {}: {}", type == DType::q8_0 ? "q8_0" : "q4_0", effect(*plan)));
      break;
    }
  }
  return advice;
}

}  // namespace

Result<FitTable> fit_table(std::span<const FitCandidate> candidates,
                           std::span<const PlanDevice> devices, std::span<const DeviceSpeed> speeds,
                           const PlanWish& wish) {
  FitTable table;
  std::vector<double> bits;
  std::vector<std::size_t> choices;  // one row a candidate: the context one would get
  for (const FitCandidate& candidate : candidates) {
    std::vector<std::uint32_t> contexts = {wish.n_ctx};
    for (const std::uint32_t n_ctx : kContexts) {
      if (wish.n_ctx == 0 && n_ctx <= candidate.shape->hparams().n_ctx_train) {
        contexts.insert(contexts.end() - 1, n_ctx);
      }
    }
    for (const std::uint32_t n_ctx : contexts) {
      PlanWish this_wish = wish;
      this_wish.n_ctx = n_ctx;
      FitRow row;
      row.quant = candidate.quant;
      row.automatic = n_ctx == 0;
      row.kv_type = wish.kv_type;
      LM_TRY(row.plan, plan_load(*candidate.shape, devices, this_wish));
      row.speed = estimate_speed(*candidate.shape, row.plan, speeds);
      row.verdict = verdict_of(*candidate.shape, devices, row.plan);
      table.rows.push_back(std::move(row));
      bits.push_back(bits_a_weight(*candidate.shape));
    }
    choices.push_back(table.rows.size() - 1);
  }
  // The choice is made with a context that a conversation needs: a quant that is wholly on the GPU
  // only with a short one would trade it away.
  std::vector<FitRow> chat;
  std::vector<double> chat_bits;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    FitRow row = table.rows[choices[i]];
    const std::uint32_t trained = candidates[i].shape->hparams().n_ctx_train;
    if (wish.n_ctx == 0 && row.plan.n_ctx < std::min(kChatContext, trained)) {
      PlanWish chat_wish = wish;
      chat_wish.n_ctx = std::min(kChatContext, trained);
      LM_TRY(row.plan, plan_load(*candidates[i].shape, devices, chat_wish));
      row.speed = estimate_speed(*candidates[i].shape, row.plan, speeds);
    }
    chat.push_back(std::move(row));
    chat_bits.push_back(bits[choices[i]]);
  }
  const Pick picked = pick(chat, chat_bits, devices.size() > 1);
  if (picked.row) {
    table.recommended = choices[*picked.row];
    table.reason = picked.reason;
  } else {
    table.reason = "no quant fits into the memory that is free";
  }
  if (!candidates.empty()) {
    const std::size_t subject =
        picked.row
            ? *picked.row
            : static_cast<std::size_t>(std::ranges::min_element(chat_bits) - chat_bits.begin());
    const LoadPlan& plan = chat[subject].plan;
    const std::uint32_t n_layer = candidates[subject].shape->hparams().n_layer;
    if (!plan.fits || (devices.size() > 1 && plan.gpu_expert_layers < n_layer)) {
      LM_TRY(table.advice, advise(candidates[subject], devices, wish, plan));
    }
    if (!plan.fits) {
      table.advice.emplace_back(candidates.size() == 1 ? "a lower quant, or a smaller model"
                                                       : "a smaller model");
    }
  }
  return table;
}

}  // namespace lm
