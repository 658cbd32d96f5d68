#include "runtime/bench/host_cost.h"

#include <chrono>
#include <random>

#include "runtime/engine/engine.h"

namespace lm {
namespace {

constexpr std::uint32_t kPrompt = 32;

/// The figures of one request, once it is done.
Result<Stats> generate(Engine& engine, RequestId id, std::uint32_t n_token) {
  Request request;
  request.id = id;
  std::mt19937_64 random(id);
  for (std::uint32_t i = 0; i < kPrompt; ++i) {
    request.ids.push_back(static_cast<Token>(random() % engine.model().n_vocab()));
  }
  request.max_tokens = static_cast<std::int32_t>(n_token);
  request.sampler.seed = 1;
  LM_CHECK(engine.submit(std::move(request)));
  while (true) {
    const std::optional<Event> event = engine.next(id, std::chrono::hours(1));
    if (!event) {
      return fail(ErrorCode::busy, engine.model().file().name(), "gives no token for an hour");
    }
    if (event->kind == Event::Kind::error) {
      return std::unexpected(event->error);
    }
    if (event->kind == Event::Kind::done) {
      return event->stats;
    }
  }
}

}  // namespace

Result<HostCost> measure_host_cost(std::shared_ptr<const Model> model,
                                   const SessionOptions& options, std::uint32_t n_token) {
  const std::string name = model->file().name();
  EngineOptions engine_options;
  engine_options.session = options;
  engine_options.prompt_lookup = false;
  LM_TRY(const std::unique_ptr<Engine> engine, Engine::create(std::move(model), engine_options));
  LM_CHECK(generate(*engine, 1, 2));
  LM_TRY(const Stats stats, generate(*engine, 2, n_token));
  if (stats.generated_tokens < 2) {
    return fail(ErrorCode::missing, name, "ended its answer before the second token");
  }
  constexpr double kNano = 1e-9;
  // The clock of a generation starts when the first token's logits are there, so it holds one step
  // less than tokens, and all of their sampling.
  const auto a_token = [](std::uint64_t ns, std::uint32_t n) {
    return static_cast<double>(ns) * kNano / n;
  };
  HostCost cost;
  cost.n_token = stats.generated_tokens;
  cost.device = a_token(stats.device_ns, stats.generated_tokens - 1);
  cost.sampling = a_token(stats.sampling_ns, stats.generated_tokens);
  cost.text = a_token(stats.text_ns, stats.generated_tokens);
  const std::uint64_t named = stats.device_ns + stats.sampling_ns + stats.text_ns;
  cost.rest = a_token(stats.generation_ns > named ? stats.generation_ns - named : 0,
                      stats.generated_tokens - 1);
  cost.token = cost.device + cost.host();
  return cost;
}

}  // namespace lm
