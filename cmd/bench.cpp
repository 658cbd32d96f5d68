// lm bench: tokens a second of whole steps with fresh random tokens, beside what the machine could
// do.
#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/bench_report.h"
#include "cmd/command.h"
#include "cmd/devices.h"
#include "cmd/load.h"
#include "cmd/resolve.h"
#include "cmd/settings.h"
#include "cmd/signals.h"
#include "store/sha256.h"

namespace lm::cmd {
namespace {

/// Multiply-adds of a test that the reference backend may repeat: a second or two of its time.
constexpr double kReferenceFlops = 3e8;
/// Tokens over which host work is measured.
constexpr std::uint32_t kHostTokens = 64;

struct BenchArguments {
  std::string model;
  std::optional<std::int64_t> prompt, generate, depth, repetitions, sequences;
  std::optional<std::string> kv_type;
  DeviceArguments devices;
  bool ops = false, no_roofs = false, no_host = false;
};

/// Linear interpolation between the nearest ranks of sorted values.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

/// Sums of the counted runs, to become means.
void add_ops(std::vector<OpShare>& to, const std::vector<OpShare>& from) {
  to.resize(std::max(to.size(), from.size()));
  for (std::size_t i = 0; i < from.size(); ++i) {
    to[i].name = from[i].name;
    to[i].calls = from[i].calls;
    to[i].seconds += from[i].seconds;
    to[i].bytes += from[i].bytes;
  }
}

std::string hash_of(std::span<const float> logits) {
  store::Sha256 hasher;
  hasher.update(std::as_bytes(logits));
  return logits.empty() ? std::string() : hasher.finish().hex();
}

/// Opens a session on the model that was loaded.
StartOnModel starting(std::unique_ptr<Session>& session) {
  return [&session](std::shared_ptr<const Model> model,
                    const SessionOptions& placed) -> lm::Result<void> {
    LM_TRY(session, Session::create(std::move(model), placed));
    return {};
  };
}

/// Measures a test; `logits` are the last ones.
Result<BenchRow> measure(StepBench& bench, const BenchTest& test, std::uint32_t repetitions,
                         std::vector<float>& logits) {
  BenchRow row;
  row.test = test.name();
  LM_CHECK(bench.warm_up(test));
  std::vector<double> rates;
  const double n_token = static_cast<double>(test.n) * test.n_sequence;
  for (std::uint32_t r = 1; r <= repetitions; ++r) {
    LM_TRY(BenchRun run, bench.run(test, r));
    rates.push_back(n_token / run.seconds);
    row.work = run.work;
    row.n_step = run.n_step;
    row.seconds += run.seconds;
    row.sampling_seconds += run.sampling_seconds;
    add_ops(row.ops, run.ops);
    logits = std::move(run.logits);
  }
  row.seconds /= repetitions;
  row.sampling_seconds /= repetitions;
  for (OpShare& op : row.ops) {
    op.seconds /= repetitions;
    op.bytes /= repetitions;
  }
  std::ranges::sort(rates);
  row.tok_s = n_token / row.seconds;
  row.p10 = quantile(rates, 0.1);
  row.p90 = quantile(rates, 0.9);
  row.logits_hash = hash_of(logits);
  return row;
}

/// Whether the reference backend can repeat a test in a moment.
bool is_tiny(const Model& model, const BenchTest& test) {
  const double tokens = static_cast<double>(test.n + test.n_before) * test.n_sequence;
  return model.devices().front()->info().id != "reference" &&
         2.0 * static_cast<double>(model.file().parameter_count()) * tokens <= kReferenceFlops;
}

/// The error of `logits`, the last of `test` after `repetitions`, against the reference backend's.
Result<double> reference_nmse(const std::string& argument, const SessionOptions& options,
                              const BenchTest& test, std::uint32_t repetitions,
                              std::span<const float> logits) {
  LM_TRY(ResolvedModel resolved, resolve_model(argument));
  std::unique_ptr<Session> session;
  LM_TRY(ModelDevices devices, open_devices(reference_device()));
  LM_TRY(const LoadOutcome loaded, load_on_devices(std::move(resolved.file), std::move(devices), {},
                                                   options, false, starting(session)));
  StepBench bench(*session, interrupt_flag());
  LM_TRY(const BenchRun run, bench.run(test, repetitions));
  return nmse(logits, run.logits);
}

/// Loads the model once more, with its vocabulary, and sends it down the whole road.
Result<HostCost> host_cost(const std::string& argument, const LoadSettings& settings,
                           SessionOptions options, std::uint32_t n_token) {
  LM_TRY(ResolvedModel resolved, resolve_model(argument));
  options.n_ctx = std::max(options.n_ctx, 2 * kHostTokens);
  options.n_seq_guaranteed = 1;
  options.profile = false;
  HostCost cost;
  const auto start = [&](std::shared_ptr<const Model> model,
                         const SessionOptions& placed) -> lm::Result<void> {
    LM_TRY(cost, measure_host_cost(std::move(model), placed, n_token));
    return {};
  };
  LM_TRY(ModelDevices devices, open_devices(settings.devices));
  LM_CHECK(load_on_devices(std::move(resolved.file), std::move(devices), settings.devices, options,
                           true, start));
  return cost;
}

std::vector<BenchTest> tests_of(const BenchArguments& given) {
  const auto number = [](const std::optional<std::int64_t>& value, std::uint32_t otherwise) {
    return value ? static_cast<std::uint32_t>(*value) : otherwise;
  };
  const std::uint32_t depth = number(given.depth, 0);
  if (given.sequences) {
    return {{.kind = BenchTest::Kind::generation,
             .n = number(given.generate, 24),
             .n_before = depth + number(given.prompt, 32),
             .n_sequence = number(given.sequences, 1)}};
  }
  std::vector<BenchTest> tests;
  if (const std::uint32_t n = number(given.prompt, 512); n > 0) {
    tests.push_back({.kind = BenchTest::Kind::prompt, .n = n, .n_before = depth});
  }
  if (const std::uint32_t n = number(given.generate, 128); n > 0) {
    tests.push_back({.kind = BenchTest::Kind::generation, .n = n, .n_before = depth});
  }
  return tests;
}

/// The name in the output: of several sequences "x1" is said too, and the depth without their
/// prompts.
std::string row_name(const BenchTest& test, const BenchArguments& given) {
  std::string name = test.name();
  if (given.sequences && test.n_sequence == 1) {
    name += "x1";
  }
  if (given.depth.value_or(0) > 0) {
    name += fmt::format("@d{}", *given.depth);
  }
  return name;
}

}  // namespace

Result<ExitCode> bench_command(CommandLine& line) {
  BenchArguments given;
  Arguments arguments(line);
  arguments.integer("-p,--prompt", given.prompt, 0, 1 << 24,
                    "tokens of the prompt test; 0: none (default 512)");
  arguments.integer("-n,--generate", given.generate, 0, 1 << 24,
                    "tokens of the generation test; 0: none (default 128)");
  arguments.integer("--sequences", given.sequences, 1, 512,
                    "measure N sequences generated together instead, -p (default 32) tokens in "
                    "each and -n (default 24) generated");
  arguments.integer("-d,--depth", given.depth, 0, 1 << 24,
                    "tokens in the context beforehand (default 0)");
  arguments.integer("-r,--repetitions", given.repetitions, 1, 10'000,
                    "runs of each test (default 5)");
  declare(arguments, given.devices);
  arguments.text("--kv-type", given.kv_type, "T",
                 "type of the KV cache: f32, f16, bf16, q8_0, q4_0");
  arguments.flag("--ops", given.ops, "time of each kind of operation and its share of the step");
  arguments.flag("--no-roofs", given.no_roofs, "do not measure what the machine could do at best");
  arguments.flag("--no-host", given.no_host,
                 "do not measure sampling, text and book-keeping of a token");
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
  const std::vector<BenchTest> tests = tests_of(given);
  const auto repetitions = static_cast<std::uint32_t>(given.repetitions.value_or(5));
  std::uint32_t n_ctx = 1;
  std::uint32_t n_sequence = 1;
  for (const BenchTest& test : tests) {
    n_ctx = std::max(n_ctx, test.n_before + test.n);
    n_sequence = std::max(n_sequence, test.n_sequence);
  }
  LM_TRY(const DeviceChoice devices, device_choice(given.devices));
  const LoadSettings settings{
      .devices = devices,
      .n_ctx = n_ctx,
      .kv_type = given.kv_type ? parse_kv_type(*given.kv_type) : std::nullopt,
      .n_batch = std::nullopt};
  LM_TRY(SessionOptions options, session_options(settings));
  options.n_seq_guaranteed = n_sequence;
  options.profile = given.ops;
  LM_TRY(ResolvedModel resolved, resolve_model(given.model));
  std::vector<BenchRow> rows;
  std::optional<Roofs> roofs;
  {
    std::unique_ptr<Session> session;
    LM_TRY(ModelDevices opened, open_devices(devices));
    if (!given.no_roofs) {
      roofs = opened.devices.front()->measure_roofs();
    }
    LM_TRY(const LoadOutcome loaded, load_on_devices(std::move(resolved.file), std::move(opened),
                                                     devices, options, false, starting(session)));
    const std::shared_ptr<const Model>& model = loaded.model;
    for (const std::string& note : session->notes()) {
      print_warning(note);
    }
    StepBench bench(*session, interrupt_flag());
    for (const BenchTest& test : tests) {
      std::vector<float> logits;
      LM_TRY(BenchRow row, measure(bench, test, repetitions, logits));
      row.test = row_name(test, given);
      if (is_tiny(*model, test)) {
        LM_TRY(row.nmse, reference_nmse(given.model, options, test, repetitions, logits));
      }
      rows.push_back(std::move(row));
    }
  }
  const bool generates = !tests.empty() && tests.back().kind == BenchTest::Kind::generation;
  if (generates && !given.sequences && !given.no_host) {
    const std::uint32_t n_token = std::clamp(tests.back().n, 8u, kHostTokens);
    if (auto cost = host_cost(given.model, settings, options, n_token)) {
      rows.back().host = *cost;
    } else if (cost.error().exit == ExitCode::interrupted) {
      return std::unexpected(std::move(cost).error());
    } else {
      print_note("host work is not measured: " + cost.error().text());
    }
  }
  print_bench(rows, roofs, given.ops, line.json);
  return ExitCode::ok;
}

}  // namespace lm::cmd
