// lm embed: texts to vectors.
#include "cmd/embed.h"

#include <algorithm>
#include <iostream>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/debug.h"
#include "cmd/output.h"
#include "cmd/resolve.h"

namespace lm::cmd {
namespace {

/// Texts that the engine holds at once: enough for full batches, few enough for little memory.
constexpr std::size_t kInFlight = 64;

struct EmbedArguments {
  std::string model;
  std::vector<std::string> texts;
  std::optional<std::string> truncate;
  std::optional<std::int64_t> dimensions, ctx;
  DeviceArguments devices;
  bool no_pull = false, insecure = false;
};

Result<void> take_events(Engine& engine, RequestId id, std::size_t text, Embeddings& result) {
  for (;;) {
    std::optional<Event> event = engine.next(id, std::chrono::milliseconds(1000));
    if (!event) {
      continue;
    }
    if (event->kind == Event::Kind::embedding) {
      result.vectors.push_back(std::move(event->embedding));
    } else if (event->kind == Event::Kind::error) {
      Failure failed(event->error);
      failed.subject = fmt::format("text {}: {}", text + 1, failed.subject);
      return std::unexpected(std::move(failed));
    } else if (event->kind == Event::Kind::done) {
      result.prompt_tokens += event->stats.prompt_tokens;
      result.truncated_tokens += event->stats.truncated_tokens;
      return {};
    }
  }
}

/// The texts of the command line; "-" stands for the lines of stdin.
Result<std::vector<std::string>> texts_of(const std::vector<std::string>& words) {
  std::vector<std::string> texts;
  for (const std::string& word : words) {
    if (word != "-") {
      texts.push_back(word);
      continue;
    }
    std::string line;
    while (std::getline(std::cin, line)) {
      if (line.ends_with('\r')) {
        line.pop_back();
      }
      texts.push_back(line);
    }
  }
  return texts;
}

}  // namespace

std::string vector_json(std::span<const float> vector) {
  std::string text = "[";
  for (const float value : vector) {
    text += (text.size() > 1 ? "," : "") + json_float(value);
  }
  return text + "]";
}

Result<Embeddings> embed_texts(Engine& engine, std::span<const std::string> texts,
                               const EmbedChoices& choices) {
  Embeddings result;
  std::size_t submitted = 0;
  for (std::size_t done = 0; done < texts.size(); ++done) {
    for (; submitted < texts.size() && submitted < done + kInFlight; ++submitted) {
      Embed embed;
      embed.id = submitted + 1;
      PromptSegment segment;
      segment.text = texts[submitted];
      embed.prompt.push_back(std::move(segment));
      embed.truncate = choices.truncate;
      embed.dimensions = choices.dimensions;
      LM_CHECK(engine.submit(std::move(embed)));
    }
    LM_CHECK(take_events(engine, done + 1, done, result));
  }
  return result;
}

Result<ExitCode> embed_command(CommandLine& line) {
  EmbedArguments given;
  Arguments arguments(line);
  arguments.flag("--json", line.json, "one object with all vectors and counters");
  arguments.integer("--dimensions", given.dimensions, 1, 1 << 20,
                    "keep the first N values, scaled to length 1 again");
  arguments.flag_or_value("--truncate", given.truncate, "true", "true|false",
                          "cut texts that are too long at their end (the default), or refuse them");
  arguments.integer("--ctx", given.ctx, 0, 1LL << 27, "context in tokens; 0: automatic");
  declare(arguments, given.devices);
  arguments.flag("--no-pull", given.no_pull, "do not download a model that is not here");
  arguments.flag("--insecure", given.insecure, "accept plain http and unverified certificates");
  arguments.positional("MODEL", given.model);
  arguments.rest("TEXT", given.texts, 1);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (given.truncate && *given.truncate != "true" && *given.truncate != "false") {
    return usage_error("--truncate",
                       fmt::format("'{}' is neither true nor false", *given.truncate));
  }
  LoadSettings settings;
  LM_TRY(settings.devices, device_choice(given.devices));
  if (given.ctx) {
    settings.n_ctx = static_cast<std::uint32_t>(*given.ctx);
  }
  LM_TRY(ResolvedModel resolved, resolve_model(given.model, {.for_running = true,
                                                             .pull_when_absent = !given.no_pull,
                                                             .insecure = given.insecure}));
  LM_TRY(const std::vector<std::string> texts, texts_of(given.texts));
  LM_TRY(const LoadSettings merged, with_parameters(settings, resolved.manifest, {}));
  LM_TRY(const std::unique_ptr<LoadedModel> loaded, load_model(std::move(resolved), merged));
  const auto begin = std::chrono::steady_clock::now();
  LM_TRY(const Embeddings made,
         embed_texts(*loaded->engine, texts,
                     {.truncate = given.truncate.value_or("true") == "true",
                      .dimensions = static_cast<std::uint32_t>(given.dimensions.value_or(0))}));
  if (made.truncated_tokens > 0) {
    print_warning(fmt::format("{} tokens were cut from the ends of texts longer than {} tokens",
                              made.truncated_tokens, loaded->engine->n_ctx()));
  }
  if (!line.json) {
    for (const std::vector<float>& vector : made.vectors) {
      print(vector_json(vector) + "\n");
    }
    return ExitCode::ok;
  }
  const std::chrono::nanoseconds total = std::chrono::steady_clock::now() - begin;
  std::string vectors;
  for (const std::vector<float>& vector : made.vectors) {
    vectors += (vectors.empty() ? "" : ",") + vector_json(vector);
  }
  print(fmt::format(
      "{{\"model\":{},\"embeddings\":[{}],\"total_duration\":{},\"load_duration\":{},"
      "\"prompt_eval_count\":{}{}}}\n",
      nlohmann::json(loaded->name).dump(), vectors, (total + loaded->load_time).count(),
      loaded->load_time.count(), made.prompt_tokens,
      made.truncated_tokens > 0 ? fmt::format(",\"truncated\":{}", made.truncated_tokens)
                                : std::string()));
  return ExitCode::ok;
}

}  // namespace lm::cmd
