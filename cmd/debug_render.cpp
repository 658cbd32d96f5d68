// lm debug render: the prompt of a conversation, byte for byte.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/debug.h"
#include "cmd/messages_json.h"
#include "cmd/model_text.h"
#include "cmd/output.h"
#include "cmd/resolve.h"
#include "cmd/text_file.h"
#include "runtime/chat/default_template.h"
#include "server/api/chat_format.h"

namespace lm::cmd {
namespace {

constexpr std::size_t kMaxFileBytes = 64u << 20;

struct RenderArguments {
  std::optional<std::string> model, messages, tools, template_file, context;
  std::vector<std::string> vars;
  std::optional<std::int64_t> trim_blocks, lstrip_blocks;
  bool no_generation_prompt = false;
};

/// --var NAME=VALUE: values that are JSON stay so, others are strings. `now` sets the clock.
struct Vars {
  std::map<std::string, std::string> json_texts;
  std::int64_t now_unix = 0;
};

Result<Vars> parse_vars(const std::vector<std::string>& texts) {
  Vars vars;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return usage_error("--var", fmt::format("takes NAME=VALUE, got '{}'", text));
    }
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    if (name == "now") {
      const auto now = parse_now(value);
      if (!now) {
        return usage_error("--var now", fmt::format("'{}' is no time", value),
                           "for example 2025-07-10T12:00:00");
      }
      vars.now_unix = *now;
      continue;
    }
    vars.json_texts[name] =
        nlohmann::json::accept(value)
            ? value
            : nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return vars;
}

/// The context with the variables put in; its own text when there are none, so that numbers keep
/// their form.
Result<std::string> context_with(std::string context, const Vars& vars, const std::string& path) {
  if (vars.json_texts.empty()) {
    return context;
  }
  LM_TRY(nlohmann::ordered_json object, parse_json(context, path));
  if (!object.is_object()) {
    return failure("bad_value", path, "is no JSON object");
  }
  for (const auto& [name, text] : vars.json_texts) {
    object[name] = nlohmann::ordered_json::parse(text);
  }
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Result<Prompt> render_file(const RenderArguments& given, const Vars& vars) {
  LM_TRY(const std::string source, read_text_file(*given.template_file, kMaxFileBytes));
  LM_TRY(std::string context, read_text_file(*given.context, kMaxFileBytes));
  LM_TRY(const std::string full, context_with(std::move(context), vars, *given.context));
  RawRenderOptions options;
  options.trim_blocks = given.trim_blocks.value_or(1) != 0;
  options.lstrip_blocks = given.lstrip_blocks.value_or(1) != 0;
  options.now_unix = vars.now_unix;
  LM_TRY(Prompt prompt, render_template(source, full, options));
  return prompt;
}

Result<Prompt> render_model(const RenderArguments& given, const Vars& vars) {
  LM_TRY(const ResolvedModel model, resolve_model(*given.model));
  std::string source = chat_template_of(model);
  if (source.empty()) {
    if (const auto fallback = default_template(model.file.metadata())) {
      source = fallback->source;
    }
  }
  if (source.empty()) {
    return failure("missing", model.name, "has no chat template", "give one with --template FILE");
  }
  LM_TRY(const ChatTemplate compiled,
         api::compile_template(source, model.name + ": chat template"));
  LM_TRY(const std::string text, read_text_file(*given.messages, kMaxFileBytes));
  LM_TRY(const std::vector<Message> messages, parse_messages(text, *given.messages));
  RenderOptions options;
  options.add_generation_prompt = !given.no_generation_prompt;
  options.vars = vars.json_texts;
  options.now_unix = vars.now_unix;
  if (given.tools) {
    LM_TRY(options.tools_json, read_text_file(*given.tools, kMaxFileBytes));
  }
  if (const auto vocab = read_vocab(model.file.metadata())) {
    const auto spelling = [&vocab](Token id) {
      return id == kNoId ? std::string() : std::string(vocab->text(id));
    };
    options.bos_text = spelling(vocab->bos);
    options.eos_text = spelling(vocab->eos);
  }
  LM_TRY(Prompt prompt, compiled.render(messages, options));
  return prompt;
}

}  // namespace

Result<ExitCode> debug_render(CommandLine& line) {
  RenderArguments given;
  Arguments arguments(line);
  arguments.text("--messages", given.messages, "FILE", "conversation as a JSON array of messages");
  arguments.text("--tools", given.tools, "FILE", "tools as a JSON array");
  arguments.text("--template", given.template_file, "FILE",
                 "any Jinja template instead of a model's");
  arguments.text("--context", given.context, "FILE", "its context as a JSON object");
  arguments.list("--var", given.vars, "NAME=VALUE",
                 "variable of the template; now=2025-07-10T12:00:00 sets the clock");
  arguments.flag("--no-generation-prompt", given.no_generation_prompt, "end with the last message");
  arguments.integer("--trim-blocks", given.trim_blocks, 0, 1,
                    "Jinja's trim_blocks for --template (default 1)");
  arguments.integer("--lstrip-blocks", given.lstrip_blocks, 0, 1,
                    "Jinja's lstrip_blocks for --template (default 1)");
  arguments.positional("MODEL", given.model);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  const bool by_file = given.template_file && given.context && !given.model && !given.messages;
  const bool by_model = given.model && given.messages && !given.template_file && !given.context;
  if (!by_file && !by_model) {
    return usage_error("lm debug render",
                       "takes MODEL with --messages FILE, or --template FILE with --context FILE",
                       "run: lm debug render --help");
  }
  LM_TRY(const Vars vars, parse_vars(given.vars));
  LM_TRY(const Prompt prompt, by_file ? render_file(given, vars) : render_model(given, vars));
  print(to_text(prompt));
  return ExitCode::ok;
}

}  // namespace lm::cmd
