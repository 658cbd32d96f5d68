// lm debug logits: the numbers themselves, for comparison with other engines.
#include <algorithm>
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/debug.h"
#include "cmd/devices.h"
#include "cmd/load.h"
#include "cmd/output.h"
#include "cmd/resolve.h"
#include "cmd/settings.h"
#include "cmd/signals.h"
#include "runtime/engine/session.h"

namespace lm::cmd {
namespace {

struct LogitsArguments {
  std::string model;
  std::optional<std::string> ids, kv_type;
  std::optional<std::int64_t> greedy, ctx;
  DeviceArguments devices;
  bool all = false;
};

Token argmax(std::span<const float> row) {
  return static_cast<Token>(std::ranges::max_element(row) - row.begin());
}

Result<void> check_finite(std::span<const float> row, const std::string& model,
                          std::size_t position) {
  if (std::ranges::any_of(row, [](float v) { return !std::isfinite(v); })) {
    return failure("non_finite", model, fmt::format("non-finite logits at token {}", position));
  }
  return {};
}

std::string row_text(std::span<const float> row) {
  std::string text = "[";
  for (const float value : row) {
    text += (text.size() > 1 ? "," : "") + json_float(value);
  }
  return text + "]";
}

/// Decodes `n` tokens one by one, each the likeliest, after the logits `row` of the token before.
Result<std::vector<Token>> decode_greedily(Session& session, Sequence& sequence,
                                           std::vector<float> row, std::int64_t n,
                                           const std::string& model) {
  std::vector<Token> tokens;
  constexpr std::uint32_t kFirstRow[] = {0};
  while (static_cast<std::int64_t>(tokens.size()) < n) {
    tokens.push_back(argmax(row));
    if (static_cast<std::int64_t>(tokens.size()) == n) {
      break;
    }
    const BatchItem item{.sequence = &sequence,
                         .tokens = std::span(tokens).last(1),
                         .embd = {},
                         .outputs = kFirstRow};
    LM_CHECK(session.step(std::span(&item, 1), interrupt_flag(), row));
    LM_CHECK(check_finite(row, model, sequence.length() - 1));
  }
  return tokens;
}

std::string executors_json(const Session& session) {
  std::string text;
  for (const auto& [name, count] : session.ops_by_executor()) {
    text += fmt::format("{}\"{}\":{}", text.empty() ? "" : ",", name, count);
  }
  return text;
}

/// What an encoder has instead of logits: one pooled vector.
Result<ExitCode> print_embedding(Session& session, const std::string& model,
                                 const std::vector<Token>& ids, const std::string& backend) {
  LM_TRY(const std::unique_ptr<Sequence> sequence, session.new_sequence());
  const std::uint32_t row = session.pooled_row(static_cast<std::uint32_t>(ids.size()));
  std::vector<float> embedding;
  const BatchItem item{
      .sequence = sequence.get(), .tokens = ids, .embd = {}, .outputs = std::span(&row, 1)};
  LM_CHECK(session.step(std::span(&item, 1), interrupt_flag(), embedding));
  LM_CHECK(check_finite(embedding, model, 0));
  print(fmt::format("{{\"backend\":\"{}\",\"ops_by_executor\":{{{}}},\"embedding\":{}}}\n", backend,
                    executors_json(session), row_text(embedding)));
  return ExitCode::ok;
}

Result<ExitCode> print_logits(Session& session, const std::string& model,
                              const std::vector<Token>& ids, const LogitsArguments& given,
                              const std::string& backend) {
  LM_TRY(const std::unique_ptr<Sequence> sequence, session.new_sequence());
  std::vector<float> logits;
  LM_CHECK(session.evaluate(*sequence, ids, given.all, interrupt_flag(), logits));
  const std::size_t n_vocab = session.model().n_vocab();
  const std::size_t n_rows = given.all ? ids.size() : 1;
  if (logits.size() != n_rows * n_vocab) {
    return failure("bad_value", model,
                   fmt::format("gave {} logits, expected {}", logits.size(), n_rows * n_vocab));
  }
  const std::string executors = executors_json(session);
  // Everything that can fail comes before the first byte of output.
  for (std::size_t r = 0; r < n_rows; ++r) {
    LM_CHECK(check_finite(std::span(logits).subspan(r * n_vocab, n_vocab), model,
                          ids.size() - n_rows + r));
  }
  const std::span<const float> last = std::span(logits).last(n_vocab);
  LM_TRY(const std::vector<Token> greedy,
         decode_greedily(session, *sequence, {last.begin(), last.end()}, given.greedy.value_or(0),
                         model));
  print(
      fmt::format("{{\"backend\":\"{}\",\"ops_by_executor\":{{{}}},\"n_vocab\":{},\"positions\":[",
                  backend, executors, n_vocab));
  for (std::size_t r = 0; r < n_rows; ++r) {
    print(fmt::format("{}{{\"pos\":{},\"logits\":{}}}", r == 0 ? "" : ",", ids.size() - n_rows + r,
                      row_text(std::span(logits).subspan(r * n_vocab, n_vocab))));
  }
  print(fmt::format("],\"greedy\":[{}]}}\n", fmt::join(greedy, ",")));
  return ExitCode::ok;
}

}  // namespace

std::string json_float(float value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : std::string("null");
}

Result<ExitCode> debug_logits(CommandLine& line) {
  LogitsArguments given;
  Arguments arguments(line);
  arguments.text("--ids", given.ids, "1,2,3", "token ids, used as they are");
  arguments.flag("--all", given.all, "logits at every position, not only at the last");
  arguments.integer("--greedy", given.greedy, 0, 1 << 20, "decode N tokens greedily after them");
  arguments.integer("--ctx", given.ctx, 0, 1LL << 27, "context in tokens; 0: automatic");
  declare(arguments, given.devices);
  arguments.text("--kv-type", given.kv_type, "T",
                 "type of the KV cache: f32, f16, bf16, q8_0, q4_0");
  arguments.positional("MODEL", given.model);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (!given.ids) {
    return usage_error("lm debug logits", "--ids is missing", "run: lm debug logits --help");
  }
  if (given.kv_type && !parse_kv_type(*given.kv_type)) {
    return usage_error("--kv-type",
                       fmt::format("'{}' is none of f32, f16, bf16, q8_0, q4_0", *given.kv_type));
  }
  const auto n_ctx =
      given.ctx ? std::optional(static_cast<std::uint32_t>(*given.ctx)) : std::nullopt;
  LM_TRY(const DeviceChoice devices, device_choice(given.devices));
  const LoadSettings settings{
      .devices = devices,
      .n_ctx = n_ctx,
      .kv_type = given.kv_type ? parse_kv_type(*given.kv_type) : std::nullopt,
      .n_batch = std::nullopt};
  LM_TRY(const SessionOptions options, session_options(settings));
  LM_TRY(ResolvedModel resolved, resolve_model(given.model));
  std::unique_ptr<Session> session;
  const auto start = [&session](std::shared_ptr<const Model> model,
                                const SessionOptions& placed) -> lm::Result<void> {
    LM_TRY(session, Session::create(std::move(model), placed));
    return {};
  };
  LM_TRY(ModelDevices opened, open_devices(devices));
  LM_TRY(const LoadOutcome loaded, load_on_devices(std::move(resolved.file), std::move(opened),
                                                   devices, options, false, start));
  const std::shared_ptr<const Model>& model = loaded.model;
  const std::string backend = model->devices().front()->info().id;
  LM_TRY(const std::vector<Token> ids, parse_ids(*given.ids, ", ", model->n_vocab()));
  if (ids.empty()) {
    return usage_error("--ids", "holds no id");
  }
  const std::uint64_t wanted = ids.size() + static_cast<std::uint64_t>(given.greedy.value_or(0));
  if (wanted > session->n_ctx()) {
    return failure(
        "context_exceeded", resolved.name,
        fmt::format("{} tokens are more than the context of {}", wanted, session->n_ctx()),
        "give a larger one with --ctx");
  }
  return session->is_pooled() ? print_embedding(*session, resolved.name, ids, backend)
                              : print_logits(*session, resolved.name, ids, given, backend);
}

}  // namespace lm::cmd
