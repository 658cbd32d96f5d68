// lm bench: tokens a second of a whole step, prompt and generation, with fresh random tokens.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <span>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/devices.h"
#include "cmd/load.h"
#include "cmd/output.h"
#include "cmd/resolve.h"
#include "cmd/settings.h"
#include "cmd/signals.h"
#include "cmd/table.h"
#include "runtime/engine/session.h"
#include "runtime/sample/sampler.h"

namespace lm::cmd {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchArguments {
  std::string model;
  std::optional<std::int64_t> prompt, generate, depth, threads, repetitions;
  std::optional<std::string> backend, kv_type;
};

/// Figures of one test over its repetitions.
struct BenchRow {
  std::string test;
  double tok_s = 0, p10 = 0, p90 = 0, gb_s = 0;
};

/// Linear interpolation between the nearest ranks of sorted values.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

class Bench {
 public:
  Bench(Session& session, std::uint32_t depth, std::uint32_t repetitions)
      : session_(session),
        depth_(depth),
        repetitions_(repetitions),
        random_(std::random_device{}()) {}

  Result<BenchRow> prompt(std::uint32_t n) {
    return measure(
        fmt::format("pp{}", n), n,
        [this, n](Sequence& sequence) -> Result<void> { return feed(sequence, random_tokens(n)); },
        (n + session_.n_batch() - 1) / session_.n_batch());
  }

  Result<BenchRow> generation(std::uint32_t n) {
    return measure(
        fmt::format("tg{}", n), n,
        [this, n](Sequence& sequence) -> Result<void> {
          // The next token is fresh and random, whatever was sampled: experts and caches see no
          // favourite path. Sampling is part of a step's price all the same.
          Sampler sampler(SamplerParams{});
          constexpr std::uint32_t kFirstRow[] = {0};
          for (std::uint32_t i = 0; i < n; ++i) {
            const std::vector<Token> token = random_tokens(1);
            const BatchItem item{
                .sequence = &sequence, .tokens = token, .embd = {}, .outputs = kFirstRow};
            LM_CHECK(session_.step(std::span(&item, 1), interrupt_flag(), logits_));
            LM_TRY(const Token sampled, sampler.pick(logits_));
            sampler.accept(sampled);
          }
          return {};
        },
        n);
  }

 private:
  std::vector<Token> random_tokens(std::uint32_t n) {
    std::uniform_int_distribution<Token> any(0, static_cast<Token>(session_.model().n_vocab()) - 1);
    std::vector<Token> tokens(n);
    std::ranges::generate(tokens, [&] { return any(random_); });
    return tokens;
  }

  Result<void> feed(Sequence& sequence, const std::vector<Token>& tokens) {
    LM_CHECK(session_.evaluate(sequence, tokens, false, interrupt_flag(), logits_));
    return {};
  }

  /// Bytes of weights that one step reads: all but the embedding table, of which it reads rows
  /// (unless it is the output matrix as well).
  std::uint64_t weight_bytes() const {
    const GgufFile& file = session_.model().file();
    const GgufTensor* embedding = file.find_tensor("token_embd.weight");
    const bool tied = file.find_tensor("output.weight") == nullptr;
    return file.tensor_bytes() - (embedding == nullptr || tied ? 0 : embedding->bytes);
  }

  template <class Work>
  Result<BenchRow> measure(std::string test, std::uint32_t n, Work&& work, std::uint32_t n_steps) {
    std::vector<double> rates;
    double seconds = 0;
    // The first run warms caches and compiles plans; it does not count.
    for (std::uint32_t r = 0; r <= repetitions_; ++r) {
      LM_TRY(const std::unique_ptr<Sequence> sequence, session_.new_sequence());
      if (depth_ > 0) {
        LM_CHECK(feed(*sequence, random_tokens(depth_)));
      }
      const auto begin = Clock::now();
      LM_CHECK(work(*sequence));
      const std::chrono::duration<double> taken = Clock::now() - begin;
      if (r > 0) {
        rates.push_back(n / taken.count());
        seconds += taken.count();
      }
    }
    std::ranges::sort(rates);
    const double bytes = static_cast<double>(weight_bytes()) * n_steps * repetitions_;
    return BenchRow{.test = depth_ > 0 ? fmt::format("{}@d{}", test, depth_) : std::move(test),
                    .tok_s = static_cast<double>(n) * repetitions_ / seconds,
                    .p10 = quantile(rates, 0.1),
                    .p90 = quantile(rates, 0.9),
                    .gb_s = bytes / seconds / 1e9};
  }

  Session& session_;
  std::uint32_t depth_;
  std::uint32_t repetitions_;
  std::mt19937_64 random_;
  std::vector<float> logits_;
};

double rounded(double value) {
  return std::round(value * 100) / 100;
}

void print_rows(const std::vector<BenchRow>& rows, bool json) {
  if (json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const BenchRow& row : rows) {
      list.push_back({{"test", row.test},
                      {"tok_s", rounded(row.tok_s)},
                      {"p10", rounded(row.p10)},
                      {"p90", rounded(row.p90)},
                      {"gb_s", rounded(row.gb_s)}});
    }
    print(list.dump() + "\n");
    return;
  }
  Table table({"TEST", "TOKENS/S", "P10", "P90", "GB/S"});
  for (const BenchRow& row : rows) {
    table.add({row.test, fmt::format("{:.2f}", row.tok_s), fmt::format("{:.2f}", row.p10),
               fmt::format("{:.2f}", row.p90), fmt::format("{:.2f}", row.gb_s)});
  }
  print(table.text());
}

}  // namespace

Result<ExitCode> bench_command(CommandLine& line) {
  BenchArguments given;
  Arguments arguments(line);
  arguments.integer("-p,--prompt", given.prompt, 0, 1 << 24,
                    "tokens of the prompt test; 0: none (default 512)");
  arguments.integer("-n,--generate", given.generate, 0, 1 << 24,
                    "tokens of the generation test; 0: none (default 128)");
  arguments.integer("-d,--depth", given.depth, 0, 1 << 24,
                    "tokens in the context beforehand (default 0)");
  arguments.integer("-t,--threads", given.threads, 0, 1024, "CPU threads; 0: automatic");
  arguments.integer("-r,--repetitions", given.repetitions, 1, 10'000,
                    "runs of each test (default 5)");
  arguments.text("--backend", given.backend, "B", "auto, cpu, reference, cuda[:i], vulkan[:i]");
  arguments.text("--kv-type", given.kv_type, "T",
                 "type of the KV cache: f32, f16, bf16, q8_0, q4_0");
  arguments.flag("--json", line.json, "print JSON");
  arguments.positional("MODEL", given.model);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (given.kv_type && !parse_kv_type(*given.kv_type)) {
    return usage_error("--kv-type",
                       fmt::format("'{}' is none of f32, f16, bf16, q8_0, q4_0", *given.kv_type));
  }
  const auto n_prompt = static_cast<std::uint32_t>(given.prompt.value_or(512));
  const auto n_generate = static_cast<std::uint32_t>(given.generate.value_or(128));
  const auto depth = static_cast<std::uint32_t>(given.depth.value_or(0));
  const auto n_threads =
      given.threads ? std::optional(static_cast<std::uint32_t>(*given.threads)) : std::nullopt;
  const LoadSettings settings{
      .devices = {.spec = given.backend, .n_threads = n_threads},
      .n_ctx = std::max(1u, depth + std::max(n_prompt, n_generate)),
      .kv_type = given.kv_type ? parse_kv_type(*given.kv_type) : std::nullopt,
      .n_batch = std::nullopt};
  LM_TRY(const SessionOptions options, session_options(settings));
  LM_TRY(ResolvedModel resolved, resolve_model(given.model));
  LoadOptions load;
  load.need_tokenizer = false;
  LM_TRY(load.devices, open_devices(settings.devices));
  LM_TRY(const std::shared_ptr<const Model> model, Model::load(std::move(resolved.file), load));
  LM_TRY(const std::unique_ptr<Session> session, Session::create(model, options));
  Bench bench(*session, depth, static_cast<std::uint32_t>(given.repetitions.value_or(5)));
  std::vector<BenchRow> rows;
  if (n_prompt > 0) {
    LM_TRY(BenchRow row, bench.prompt(n_prompt));
    rows.push_back(std::move(row));
  }
  if (n_generate > 0) {
    LM_TRY(BenchRow row, bench.generation(n_generate));
    rows.push_back(std::move(row));
  }
  print_rows(rows, line.json);
  return ExitCode::ok;
}

}  // namespace lm::cmd
