#include "runtime/chat/chat_template.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <new>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_parser.h"
#include "runtime/chat/jinja_print.h"
#include "runtime/chat/message_context.h"

namespace lm {

namespace {

using jinja::Budget;
using jinja::Eval;
using jinja::Failure;
using jinja::Kind;
using jinja::Origin;
using jinja::Value;

// What only the program itself may set.
constexpr std::array<std::string_view, 5> kReserved = {"messages", "tools", "bos_token",
                                                       "eos_token", "add_generation_prompt"};

// In a context these are spelt by the model file, not by a user: they may be control tokens.
constexpr std::array<std::string_view, 7> kTokenVariables = {
    "bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"};

Error to_error(const Failure& failure, const std::string& name) {
  if (failure.code == ErrorCode::template_refused) {
    return {failure.code, name, failure.message};
  }
  return {failure.code, name, failure.message + " at line " + std::to_string(failure.line)};
}

Error no_memory(const std::string& name) {
  return {ErrorCode::out_of_memory, name, "no memory left for the template"};
}

Prompt to_prompt(const jinja::Text& text) {
  Prompt prompt;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const auto next = std::ranges::upper_bound(text.switches(), begin);
    const std::size_t end = next == text.switches().end() ? text.size() : *next;
    PromptSegment segment;
    segment.text = text.view().substr(begin, end - begin);
    segment.special =
        text.origin_at(begin) == Origin::literal ? SpecialTokens::parsed : SpecialTokens::as_text;
    prompt.push_back(std::move(segment));
    begin = end;
  }
  return prompt;
}

/// An error inside a variable says which.
Eval<Value> read_variable(Budget& budget, const std::string& name, std::string_view json) {
  auto value = jinja::read_json(budget, json, Origin::data);
  if (!value) {
    value.error()->message = "variable '" + name + "': " + value.error()->message;
  }
  return value;
}

Eval<jinja::Text> render_messages(Budget& budget, const jinja::Program& program,
                                  const std::vector<Message>& messages,
                                  const RenderOptions& options) {
  jinja::Interpreter interpreter(budget, program, options.now_unix);
  for (const auto& [name, json] : options.vars) {
    if (std::ranges::find(kReserved, name) != kReserved.end()) {
      return budget.fail("variable '" + name + "' can't be set from outside",
                         ErrorCode::invalid_argument);
    }
    LM_TRY(Value value, read_variable(budget, name, json));
    interpreter.define(name, std::move(value));
  }
  LM_TRY(Value list, jinja::messages_value(budget, messages));
  interpreter.define("messages", std::move(list));
  if (!options.tools_json.empty()) {
    LM_TRY(Value tools, read_variable(budget, "tools", options.tools_json));
    interpreter.define("tools", std::move(tools));
  }
  LM_TRY(Value bos, make_text(budget, options.bos_text));
  LM_TRY(Value eos, make_text(budget, options.eos_text));
  interpreter.define("bos_token", std::move(bos));
  interpreter.define("eos_token", std::move(eos));
  interpreter.define("add_generation_prompt", Value::boolean(options.add_generation_prompt));
  return interpreter.render();
}

Eval<jinja::Text> render_context(Budget& budget, const jinja::Program& program,
                                 std::string_view context_json, std::int64_t now_unix) {
  jinja::Interpreter interpreter(budget, program, now_unix);
  LM_TRY(const Value context, read_variable(budget, "context", context_json));
  if (!context.is(Kind::map)) {
    return budget.fail("the context must be a JSON object, not " + std::string(type_name(context)));
  }
  for (const auto& [key, value] : context.map().entries) {
    const bool token = std::ranges::find(kTokenVariables, key.view()) != kTokenVariables.end();
    if (token && value.is(Kind::text)) {
      LM_TRY(Value literal, make_text(budget, value.view()));
      interpreter.define(std::string(key.view()), std::move(literal));
    } else {
      interpreter.define(std::string(key.view()), value);
    }
  }
  return interpreter.render();
}

template <class Render>
Result<Prompt> guarded(const std::string& name, Render render) {
  try {
    Eval<jinja::Text> text = render();
    if (!text) {
      return std::unexpected(to_error(*text.error(), name));
    }
    return to_prompt(*text);
  } catch (const std::bad_alloc&) {
    return std::unexpected(no_memory(name));
  }
}

Result<jinja::Program> compile_source(std::string_view source, const std::string& name,
                                      const jinja::LexOptions& options) {
  try {
    Budget budget{TemplateBudget()};
    auto program = jinja::compile(budget, source, options);
    if (!program) {
      return std::unexpected(to_error(*program.error(), name));
    }
    return std::move(*program);
  } catch (const std::bad_alloc&) {
    return std::unexpected(no_memory(name));
  }
}

}  // namespace

struct ChatTemplate::Impl {
  std::string name;
  jinja::Program program;
  bool tools = false;
  bool thinking = false;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::compile(std::string_view source, std::string name) {
  LM_TRY(jinja::Program program, compile_source(source, name, {}));
  auto impl = std::make_unique<Impl>();
  impl->name = std::move(name);
  impl->program = std::move(program);
  impl->tools = source.contains("tools") || source.contains("tool_call");
  const bool splits =
      source.contains("split('</think>')") || source.contains("split(\"</think>\")");
  impl->thinking = splits || (source.contains("<think>") && source.contains("</think>"));
  return ChatTemplate(std::move(impl));
}

Result<Prompt> ChatTemplate::render(const std::vector<Message>& messages,
                                    const RenderOptions& options) const {
  return guarded(impl_->name, [&] {
    Budget budget(options.budget);
    return render_messages(budget, impl_->program, messages, options);
  });
}

bool ChatTemplate::mentions_tools() const {
  return impl_->tools;
}
bool ChatTemplate::mentions_thinking() const {
  return impl_->thinking;
}

Result<Prompt> render_template(std::string_view source, std::string_view context_json,
                               const RawRenderOptions& options) {
  const std::string name = "template";
  LM_TRY(const jinja::Program program,
         compile_source(source, name, {options.trim_blocks, options.lstrip_blocks}));
  return guarded(name, [&] {
    Budget budget(options.budget);
    return render_context(budget, program, context_json, options.now_unix);
  });
}

std::optional<std::int64_t> parse_now(std::string_view text) {
  std::tm time{};
  const std::string whole(text);
  const char* end = strptime(whole.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
  if (!end || *end != '\0') {
    return std::nullopt;
  }
  time.tm_isdst = -1;
  const std::time_t seconds = std::mktime(&time);
  return seconds == -1 ? std::nullopt : std::optional<std::int64_t>(seconds);
}

}  // namespace lm
