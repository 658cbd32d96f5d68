#include "cmd/fit_catalog.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/format.h"
#include "cmd/local_store.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/table.h"
#include "registry/catalog.h"
#include "runtime/plan/known_shapes.h"

namespace lm::cmd {
namespace {

/// What a model is for, as its name says.
std::string task_of(std::string_view name) {
  const auto has = [name](std::string_view word) { return name.find(word) != name.npos; };
  if (has("embed") || has("bge") || has("minilm")) {
    return "embedding";
  }
  if (has("coder") || has("code") || has("devstral")) {
    return "code";
  }
  if (has("-vl") || has("llava") || has("vision")) {
    return "images";
  }
  if (has("r1") || has("qwq") || has("think") || has("gpt-oss")) {
    return "reasoning";
  }
  return "chat";
}

struct Ranked {
  const registry::CatalogEntry* entry = nullptr;
  std::string task;
  std::uint64_t bytes = 0;  ///< file, KV and work
  std::uint32_t n_ctx = 0;
  double tok_s = 0;
  bool on_gpu = false, fits = false;
};

/// A known shape on the machine.
struct Planned {
  LoadPlan plan;
  SpeedEstimate speed;
  std::uint64_t weights = 0;
};

/// Sizes of models that are known by their file's size alone: KV and work are those of the known
/// shape nearest to it, each planned once.
class Ranking {
 public:
  Ranking(const Machine& machine, const PlanWish& wish) : machine_(machine), wish_(wish) {}

  Result<Ranked> rank(const registry::CatalogEntry& entry) {
    constexpr double kGbPerBillion = 0.61;  // Q4_K_M: 4.9 bits a weight
    const bool few_active =
        !entry.repos.empty() && entry.repos.front().find("30B-A3B") != std::string::npos;
    const KnownShape& near = few_active ? *find_known_shape("Qwen3-30B-A3B")
                                        : nearest_known_shape(entry.size_gb / kGbPerBillion);
    LM_TRY(const Planned* const planned, plan_of(near));
    const auto weights = static_cast<std::uint64_t>(entry.size_gb * 1e9);
    Ranked ranked{.entry = &entry, .task = task_of(entry.name), .n_ctx = planned->plan.n_ctx};
    ranked.bytes = planned->plan.total() - planned->weights + weights;
    std::uint64_t gpus = 0;
    for (std::size_t d = 0; d + 1 < planned->plan.budget.size(); ++d) {
      gpus += planned->plan.budget[d];
    }
    ranked.on_gpu = gpus > 0 && ranked.bytes <= gpus;
    ranked.fits = ranked.on_gpu || ranked.bytes <= planned->plan.budget.back() + gpus;
    ranked.tok_s = planned->speed.decode_tok_s * static_cast<double>(planned->weights) /
                   static_cast<double>(std::max<std::uint64_t>(weights, 1));
    return ranked;
  }

 private:
  Result<const Planned*> plan_of(const KnownShape& known) {
    const auto [at, is_new] = planned_.try_emplace(&known);
    if (is_new) {
      LM_TRY(const GgufFile file, shape_file(known, "Q4_K_M"));
      LM_TRY(const ModelShape shape, ModelShape::read(file));
      PlanWish wish = wish_;
      wish.n_ctx = wish_.n_ctx > 0 ? wish_.n_ctx : std::min(8192u, known.n_ctx);
      Planned& planned = at->second;
      LM_TRY(planned.plan, plan_load(shape, machine_.devices, wish));
      planned.speed = estimate_speed(shape, planned.plan, machine_.speeds);
      for (const DeviceBytes& device : planned.plan.bytes) {
        planned.weights += device.weights;
      }
    }
    return &at->second;
  }

  const Machine& machine_;
  const PlanWish& wish_;
  std::map<const KnownShape*, Planned> planned_;
};

}  // namespace

Result<ExitCode> rank_catalog(const Machine& machine, const PlanWish& wish, bool json) {
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
  LM_TRY(const registry::Catalog catalog, registry::Catalog::load(store->home()));
  Ranking ranking(machine, wish);
  std::vector<Ranked> all;
  for (const registry::CatalogEntry& entry : catalog.entries()) {
    if (entry.size_gb <= 0) {
      continue;
    }
    LM_TRY(Ranked ranked, ranking.rank(entry));
    if (ranked.fits) {
      all.push_back(std::move(ranked));
    }
  }
  // By task; those as fast as one reads before slower ones, and of these the largest first.
  const auto readable = [](const Ranked& r) { return r.on_gpu || r.tok_s >= 8; };
  std::ranges::stable_sort(all, [&](const Ranked& a, const Ranked& b) {
    return std::tuple(a.task, !readable(a), readable(a) ? -a.entry->size_gb : a.entry->size_gb) <
           std::tuple(b.task, !readable(b), readable(b) ? -b.entry->size_gb : b.entry->size_gb);
  });
  if (json) {
    nlohmann::ordered_json document{{"models", nlohmann::ordered_json::array()}};
    for (const Ranked& ranked : all) {
      document["models"].push_back({{"name", ranked.entry->name},
                                    {"task", ranked.task},
                                    {"quant", ranked.entry->quant},
                                    {"ctx", ranked.n_ctx},
                                    {"bytes", ranked.bytes},
                                    {"tg_tok_s", ranked.tok_s},
                                    {"on_gpu", ranked.on_gpu}});
    }
    print(dump_json(document) + "\n");
    return ExitCode::ok;
  }
  Table table({"NAME", "TASK", "QUANT", "CONTEXT", "MEMORY", "TOKENS/S", "WHERE"});
  for (const Ranked& ranked : all) {
    table.add({ranked.entry->name, ranked.task,
               ranked.entry->quant.empty() ? "-" : ranked.entry->quant,
               fmt::format("{}", ranked.n_ctx), "~" + format_bytes(ranked.bytes),
               ranked.tok_s > 0 ? fmt::format("~{:.0f}", ranked.tok_s) : "?",
               ranked.on_gpu                ? "GPU"
               : machine.devices.size() > 1 ? "split"
                                            : "CPU"});
  }
  print(table.text());
  print_note("estimated from file sizes; lm fit NAME reads the model's own header");
  return ExitCode::ok;
}

}  // namespace lm::cmd
