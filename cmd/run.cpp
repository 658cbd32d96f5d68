// lm run: one answer, or a conversation.
#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include <fmt/format.h>
#include <unistd.h>

#include "cmd/answer_printer.h"
#include "cmd/arguments.h"
#include "cmd/chat_session.h"
#include "cmd/command.h"
#include "cmd/embed.h"
#include "cmd/format.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/remote_run.h"
#include "cmd/repl.h"
#include "cmd/server_library.h"
#include "cmd/settings.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"
#include "cmd/text_file.h"
#include "server/api/duration.h"

namespace lm::cmd {
namespace {

constexpr std::size_t kMaxStdinBytes = 256u << 20;
constexpr std::size_t kMaxSchemaBytes = 1u << 20;

struct RunArguments {
  std::string model;
  std::vector<std::string> prompt;
  std::optional<std::string> system, think, truncate, keepalive, kv_type, draft, format;
  std::optional<std::string> temperature, top_p, min_p;
  std::optional<std::int64_t> top_k, seed, ctx, predict, dimensions;
  DeviceArguments devices;
  std::vector<std::string> stop, set;
  bool verbose = false, raw = false, no_pull = false, plain = false, no_word_wrap = false;
  bool hide_thinking = false, insecure = false;
};

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int64_t>::max();

void declare(Arguments& arguments, RunArguments& given, bool& json) {
  arguments.text("--system", given.system, "TEXT", "system message instead of the model's");
  arguments.number("--temp", given.temperature, "temperature; 0: always the likeliest token");
  arguments.integer("--top-k", given.top_k, -1, 1 << 30,
                    "sample from the K likeliest tokens; 0: all");
  arguments.number("--top-p", given.top_p,
                   "sample from the likeliest tokens of total probability P");
  arguments.number("--min-p", given.min_p,
                   "drop tokens below P times the likeliest one's probability");
  arguments.integer("--seed", given.seed, -1, kMaxInt, "same seed, same answer; -1: random");
  arguments.integer("--ctx", given.ctx, 0, 1LL << 27, "context in tokens; 0: automatic");
  arguments.integer("--predict", given.predict, -2, (1LL << 31) - 1,
                    "tokens to generate at most; -1: until the end");
  arguments.list("--stop", given.stop, "TEXT", "end the answer before this text");
  arguments.list("--set", given.set, "NAME=VALUE", "set any parameter by its name");
  arguments.flag_or_value("--think", given.think, "true", "true|false|low|medium|high|max",
                          "let the model think first, or not");
  arguments.flag("--hidethinking", given.hide_thinking, "do not print what the model thinks");
  arguments.text("--format", given.format, "json|SCHEMA",
                 "answer with a JSON object, or as a JSON schema says (a file, or its text)");
  arguments.flag("--raw", given.raw, "no template: the prompt as it is");
  arguments.flag_or_value("--truncate", given.truncate, "true", "true|false",
                          "cut a prompt that is too long at its front");
  arguments.flag("--verbose", given.verbose, "statistics on stderr");
  arguments.flag("--json", json, "print the answer with its statistics as JSON");
  arguments.flag("--plain", given.plain, "no colour, no word wrap");
  arguments.flag("--nowordwrap", given.no_word_wrap, "leave lines as they are");
  arguments.flag("--no-pull", given.no_pull, "do not download a model that is not here");
  arguments.flag("--insecure", given.insecure, "accept plain http and unverified certificates");
  arguments.text("--keepalive", given.keepalive, "DURATION",
                 "how long a server keeps the model loaded");
  declare(arguments, given.devices);
  arguments.text("--kv-type", given.kv_type, "T",
                 "type of the KV cache: f32, f16, bf16, q8_0, q4_0");
  arguments.text("--draft", given.draft, "MODEL",
                 "smaller model of the same vocabulary that guesses ahead");
  arguments.integer("--dimensions", given.dimensions, 1, 1 << 20,
                    "embedding models: keep the first N values");
  arguments.positional("MODEL", given.model);
  arguments.rest("PROMPT", given.prompt, 0);
}

std::unexpected<Failure> as_usage(Failure failed) {
  failed.exit = ExitCode::usage;
  return std::unexpected(std::move(failed));
}

/// Flags and --set as parameters by their API names, checked.
Result<api::ParameterTexts> chosen_parameters(const RunArguments& given) {
  api::ParameterTexts chosen;
  const auto add = [&chosen](std::string_view name, const std::string& value) -> Result<void> {
    if (auto added = api::add_parameter(chosen, name, value); !added) {
      return as_usage(added.error());
    }
    return {};
  };
  const auto number = [&add](std::string_view name, const auto& value) -> Result<void> {
    return value ? add(name, fmt::format("{}", *value)) : Result<void>{};
  };
  LM_CHECK(number("temperature", given.temperature));
  LM_CHECK(number("top_k", given.top_k));
  LM_CHECK(number("top_p", given.top_p));
  LM_CHECK(number("min_p", given.min_p));
  LM_CHECK(number("seed", given.seed));
  LM_CHECK(number("num_predict", given.predict));
  LM_CHECK(number("num_thread", given.devices.threads));
  if (given.ctx && *given.ctx > 0) {
    LM_CHECK(number("num_ctx", given.ctx));
  }
  for (const std::string& text : given.stop) {
    LM_CHECK(add("stop", text));
  }
  for (const std::string& text : given.set) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return usage_error("--set", fmt::format("takes NAME=VALUE, got '{}'", text));
    }
    LM_CHECK(add(text.substr(0, equals), text.substr(equals + 1)));
  }
  return chosen;
}

Result<void> check_words(const RunArguments& given) {
  constexpr std::array<std::string_view, 6> kLevels{"true",   "false", "low",
                                                    "medium", "high",  "max"};
  if (given.think && std::find(kLevels.begin(), kLevels.end(), *given.think) == kLevels.end()) {
    return usage_error("--think", fmt::format("'{}' is none of true, false, low, medium, high, max",
                                              *given.think));
  }
  if (given.truncate && *given.truncate != "true" && *given.truncate != "false") {
    return usage_error("--truncate",
                       fmt::format("'{}' is neither true nor false", *given.truncate));
  }
  if (given.keepalive && !api::parse_duration(*given.keepalive)) {
    return usage_error("--keepalive", fmt::format("'{}' is no duration", *given.keepalive),
                       "for example 5m or 300");
  }
  if (given.kv_type && !parse_kv_type(*given.kv_type)) {
    return usage_error("--kv-type",
                       fmt::format("'{}' is none of f32, f16, bf16, q8_0, q4_0", *given.kv_type));
  }
  if (!registry::is_local_path(given.model)) {
    LM_CHECK(registry::ModelRef::parse(given.model));
  }
  return {};
}

/// "json", the text of a schema, or a file that holds one.
Result<OutputFormat> output_format(const std::optional<std::string>& given) {
  if (!given || given->empty()) {
    return OutputFormat{};
  }
  if (*given == "json") {
    return OutputFormat{OutputFormat::Kind::json, {}};
  }
  if (given->find_first_not_of(" \t\r\n") != std::string::npos &&
      (*given)[given->find_first_not_of(" \t\r\n")] == '{') {
    return OutputFormat{OutputFormat::Kind::schema, *given};
  }
  LM_TRY(std::string text, read_text_file(*given, kMaxSchemaBytes));
  return OutputFormat{OutputFormat::Kind::schema, std::move(text)};
}

/// All of stdin, when it is no terminal. A closed stdin is an empty one.
Result<std::string> piped_input() {
  std::string text;
  if (stdin_is_terminal()) {
    return text;
  }
  std::string chunk(64 * 1024, '\0');
  while (true) {
    const ssize_t n = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (n == 0 || (n < 0 && errno == EBADF)) {
      return text;
    }
    if (n < 0 && errno != EINTR) {
      Failure failed("io", "standard input", "can't be read");
      failed.os_error = errno;
      return std::unexpected(std::move(failed));
    }
    text.append(chunk, 0, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (text.size() > kMaxStdinBytes) {
      return failure("limit_exceeded", "standard input",
                     fmt::format("has more than {} bytes", kMaxStdinBytes));
    }
  }
}

/// "<stdin> <arguments>", joined by one space.
std::string join_prompt(std::string piped, const std::vector<std::string>& words) {
  std::string prompt = std::move(piped);
  for (const std::string& word : words) {
    prompt += (prompt.empty() ? "" : " ") + word;
  }
  return prompt;
}

Result<ExitCode> answer_once(ChatSession& session, const RunArguments& given,
                             const std::string& prompt, bool json) {
  AnswerStyle style = answer_style(given.plain, !given.no_word_wrap, !given.hide_thinking);
  style.silent = json;
  AnswerPrinter printer(style);
  const auto answer = given.raw ? session.ask_raw(prompt, printer) : session.ask(prompt, printer);
  if (!answer) {
    printer.abandon();
    return std::unexpected(answer.error());
  }
  printer.finish();
  if (json) {
    print(dump_json(answer_json(session.loaded(), *answer), -1) + "\n");
  }
  flush();
  if (answer->finish == Finish::length &&
      answer->stats.context_used >= answer->stats.context_size) {
    print_note(fmt::format("The answer ends here: the context of {} tokens is full.",
                           answer->stats.context_size));
  }
  if (given.verbose) {
    print_to_stderr("\n" + statistics_text(session.loaded(), *answer));
  }
  return answer->interrupted ? ExitCode::interrupted : ExitCode::ok;
}

/// Values as the API takes them: numbers and truth values as such.
nlohmann::json options_json(const api::ParameterTexts& chosen) {
  nlohmann::json options = nlohmann::json::object();
  for (const auto& [name, values] : chosen) {
    if (name == "stop") {
      options[name] = values;
      continue;
    }
    auto value = nlohmann::json::parse(values.back(), nullptr, false);
    options[name] =
        value.is_number() || value.is_boolean() ? std::move(value) : nlohmann::json(values.back());
  }
  return options;
}

RemoteQuestion remote_question(const RunArguments& given, const std::string& model,
                               const std::string& prompt, const api::ParameterTexts& chosen,
                               const OutputFormat& format) {
  RemoteQuestion question{.raw = given.raw, .body = {}};
  nlohmann::json& body = question.body;
  body = {{"model", model},
          {"stream", true},
          {"options", options_json(chosen)},
          {"truncate", given.truncate.value_or("false") == "true"},
          {"shift", false}};
  if (given.raw) {
    body["raw"] = true;
    body["prompt"] = prompt;
  } else {
    body["messages"] = nlohmann::json::array();
    if (given.system) {
      body["messages"].push_back({{"role", "system"}, {"content", *given.system}});
    }
    body["messages"].push_back({{"role", "user"}, {"content", prompt}});
  }
  if (given.think) {
    body["think"] = *given.think == "true"    ? nlohmann::json(true)
                    : *given.think == "false" ? nlohmann::json(false)
                                              : nlohmann::json(*given.think);
  }
  if (format.kind == OutputFormat::Kind::json) {
    body["format"] = "json";
  } else if (format.kind == OutputFormat::Kind::schema) {
    body["format"] = nlohmann::json::parse(format.text, nullptr, false);
  }
  if (given.keepalive) {
    body["keep_alive"] = *given.keepalive;
  }
  return question;
}

/// Whether anything was asked that only a model loaded here can do.
bool must_run_here(const RunArguments& given, const OutputFormat& format) {
  return given.devices.backend || given.devices.gpu_layers || given.devices.max_vram ||
         given.devices.threads || given.kv_type || given.draft || given.ctx == 0 ||
         given.dimensions || given.verbose || format.kind == OutputFormat::Kind::gbnf;
}

/// The answer of a server that has the model, if there is one; nothing: load it here.
std::optional<Result<ExitCode>> answer_from_server(const RunArguments& given,
                                                   const std::string& model,
                                                   const RemoteQuestion& question, bool json) {
  const auto home = store::default_home();
  const auto server = home ? server_for_store(store_identity(*home), true) : std::nullopt;
  if (!server) {
    return std::nullopt;
  }
  AnswerStyle style = answer_style(given.plain, !given.no_word_wrap, !given.hide_thinking);
  style.silent = json;
  AnswerPrinter printer(style);
  const auto answer = ask_server(*server, question, printer);
  if (!answer) {
    printer.abandon();
    if (answer.error().code == "unsupported") {
      return std::nullopt;  // an embedding model: it answers in another way
    }
    return Result<ExitCode>(std::unexpected(answer.error()));
  }
  printer.finish();
  if (json) {
    LoadedModel described;
    described.name = model;
    print(dump_json(answer_json(described, *answer), -1) + "\n");
  }
  flush();
  return Result<ExitCode>(answer->interrupted ? ExitCode::interrupted : ExitCode::ok);
}

/// An embedding model answers with one vector.
Result<ExitCode> embed_prompt(LoadedModel& loaded, const RunArguments& given,
                              const std::string& prompt) {
  if (prompt.empty()) {
    return usage_error("lm run",
                       fmt::format("{} is an embedding model and needs a prompt", loaded.name));
  }
  LM_TRY(const Embeddings made,
         embed_texts(*loaded.engine, std::span(&prompt, 1),
                     {.truncate = given.truncate.value_or("true") == "true",
                      .dimensions = static_cast<std::uint32_t>(given.dimensions.value_or(0))}));
  if (made.truncated_tokens > 0) {
    print_warning(fmt::format("the text is longer than {} tokens; {} were cut from its end",
                              loaded.engine->n_ctx(), made.truncated_tokens));
  }
  print(vector_json(made.vectors.front()) + "\n");
  return ExitCode::ok;
}

}  // namespace

Result<ExitCode> run_command(CommandLine& line) {
  RunArguments given;
  Arguments arguments(line);
  declare(arguments, given, line.json);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_CHECK(check_words(given));
  LM_TRY(api::ParameterTexts chosen, chosen_parameters(given));
  LM_TRY(const OutputFormat format, output_format(given.format));
  LM_TRY(const DeviceChoice devices, device_choice(given.devices));
  const bool interactive =
      given.prompt.empty() && stdin_is_terminal() && stdout_is_terminal() && !line.json;
  if (interactive && given.raw) {
    return usage_error("lm run", "--raw needs a prompt");
  }
  LM_TRY(ResolvedModel resolved, resolve_model(given.model, {.for_running = true,
                                                             .pull_when_absent = !given.no_pull,
                                                             .insecure = given.insecure}));
  LM_TRY(std::string piped, piped_input());
  const std::string prompt = join_prompt(std::move(piped), given.prompt);

  if (resolved.manifest && !interactive && !prompt.empty() && !must_run_here(given, format)) {
    if (auto answered = answer_from_server(
            given, resolved.name, remote_question(given, resolved.name, prompt, chosen, format),
            line.json)) {
      return *answered;
    }
  }

  LoadSettings settings;
  settings.devices = devices;
  settings.devices.n_threads.reset();  // among the parameters that were chosen
  settings.explain = given.verbose;
  settings.draft = given.draft;
  if (given.ctx == 0) {
    settings.n_ctx = 0;  // automatic, whatever the model's parameters say
  }
  if (given.kv_type) {
    settings.kv_type = parse_kv_type(*given.kv_type);
  }
  LM_TRY(const LoadSettings merged, with_parameters(settings, resolved.manifest, chosen));
  LM_TRY(std::unique_ptr<LoadedModel> loaded, load_model(std::move(resolved), merged));
  if (loaded->engine->embeds()) {
    return embed_prompt(*loaded, given, prompt);
  }
  const LongPrompt long_prompt = interactive ? LongPrompt::drop_messages
                                 : given.truncate.value_or("false") == "true"
                                     ? LongPrompt::cut_front
                                     : LongPrompt::error;
  LM_TRY(std::unique_ptr<ChatSession> session,
         ChatSession::create(std::move(loaded), {.parameters = std::move(chosen),
                                                 .system = given.system,
                                                 .think = given.think,
                                                 .long_prompt = long_prompt,
                                                 .format = format}));
  if (interactive) {
    return run_repl(std::move(session), {.verbose = given.verbose,
                                         .plain = given.plain,
                                         .word_wrap = !given.no_word_wrap,
                                         .show_thinking = !given.hide_thinking,
                                         .load = settings});
  }
  if (prompt.empty()) {
    if (line.json) {
      print(dump_json({{"model", session->loaded().name},
                       {"response", ""},
                       {"done", true},
                       {"done_reason", "load"}},
                      -1) +
            "\n");
    }
    return ExitCode::ok;
  }
  return answer_once(*session, given, prompt, line.json);
}

}  // namespace lm::cmd
