#include "server/api/chat_plan.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "server/api/answer_text.h"
#include "server/api/prompt_maker.h"

namespace lm::api {
namespace {

/// Built-in defaults < the model's parameters < the request's.
ApiResult<GenerationOptions> options_of(const Asked& asked, const ModelFacts& facts) {
  GenerationOptions options;
  if (dress_of(asked.endpoint) == Dress::openai) {
    options.sampler.temperature = 1.0;
    options.sampler.top_p = 1.0;
  }
  if (auto set = options.set_all(facts.parameters); !set) {
    return std::unexpected(
        ApiError{500,
                 "bad_model",
                 fmt::format("the stored parameters of {} are bad: {}: {}", facts.name,
                             set.error().subject, set.error().problem),
                 {}});
  }
  if (auto set = options.set_all(asked.options); !set) {
    return std::unexpected(api_error(set.error()));
  }
  if (!asked.logit_bias.empty()) {
    options.sampler.logit_bias = asked.logit_bias;
  }
  return options;
}

/// What the template is told about thinking.
ApiResult<Think> think_of(const Asked& asked, const ChatFormat& format, const ModelFacts& facts,
                          std::vector<std::string>& warnings) {
  const ThinkSwitch& can = format.thinking();
  if (!asked.think) {
    return can.thinks ? Think("true") : Think();
  }
  if (*asked.think == "false") {
    if (can.thinks && !can.can_stop) {
      warnings.emplace_back("the model's template can't switch thinking off");
    }
    return asked.think;
  }
  if (!can.thinks) {
    const std::string problem = fmt::format("\"{}\" does not support thinking", facts.name);
    if (dress_of(asked.endpoint) == Dress::native) {
      return refuse("think", problem, "unsupported");
    }
    warnings.push_back(problem);
    return Think();
  }
  if (*asked.think != "true" && !can.has_levels) {
    warnings.push_back(
        fmt::format("the model knows no levels of thinking: '{}' means on", *asked.think));
  }
  return asked.think;
}

std::uint32_t room_for_prompt(const GenerationOptions& options, std::uint32_t n_ctx) {
  return options.max_tokens != 0 && n_ctx > 1 ? n_ctx - 1 : n_ctx;
}

Request request_of(const Asked& asked, const GenerationOptions& options) {
  Request request;
  request.sampler = options.sampler;
  request.stop = options.stop;
  request.max_tokens = options.max_tokens;
  request.n_keep = options.n_keep;
  request.shift = asked.shift;
  request.format = asked.format;
  request.logprobs = asked.logprobs;
  request.top_logprobs = asked.top_logprobs;
  if (options.draft_tokens) {
    request.draft_tokens = static_cast<std::int32_t>(*options.draft_tokens);
  }
  return request;
}

void speak(Request& request, const Dialect& dialect, const Prompt& prompt) {
  request.family = dialect.family;
  request.call_style = dialect.style;
  if (!dialect.think_close.empty()) {
    request.thinking_open = dialect.think_open;
    request.thinking_close = dialect.think_close;
    request.starts_in_thinking = ends_in_thinking(prompt, dialect);
  }
}

/// The same request once for each choice; a given seed counts up.
void add_choices(Work& work, const Request& request, std::uint32_t n) {
  for (std::uint32_t i = 0; i < n; ++i) {
    Request one = request;
    if (one.sampler.seed >= 0) {
      one.sampler.seed += i;
    }
    work.commands.emplace_back(std::move(one));
  }
}

/// The model's own system text and messages before those of the request.
std::vector<Message> with_defaults(const std::vector<Message>& asked, const ModelFacts& facts) {
  std::vector<Message> messages;
  auto rest = asked.begin();
  if (rest != asked.end() && rest->role == "system") {
    messages.push_back(*rest++);
  } else if (!facts.system.empty()) {
    messages.push_back({.role = "system", .content = facts.system});
  }
  messages.insert(messages.end(), facts.messages.begin(), facts.messages.end());
  messages.insert(messages.end(), rest, asked.end());
  return messages;
}

Work counted(AnswerBasis basis, std::size_t tokens) {
  Work work;
  work.answer =
      make_ready_answer(std::move(basis), [tokens](const AnswerBasis& /*known*/, Moment /*now*/) {
        return Json{{"input_tokens", tokens}};
      });
  return work;
}

Work shown(AnswerBasis basis, const Prompt& prompt) {
  Work work;
  work.answer = make_ready_answer(
      std::move(basis), [text = to_text(prompt)](const AnswerBasis& known, Moment now) {
        Json body{{"model", known.model}, {"created_at", time_text(now)}};
        body["_debug_info"] = {{"rendered_template", text}, {"image_count", 0}};
        return body;
      });
  return work;
}

std::unique_ptr<Answer> chat_answer(const Asked& asked, const ModelFacts& facts,
                                    AnswerBasis basis) {
  switch (asked.endpoint) {
    case Endpoint::v1_chat:
      return make_openai_chat_answer(std::move(basis), asked.n);
    case Endpoint::v1_responses:
      return make_responses_answer(std::move(basis), asked.echo_json, facts.tokenizer);
    case Endpoint::messages: {
      const auto stops = asked.options.find("stop");
      return make_anthropic_answer(std::move(basis), stops == asked.options.end()
                                                         ? std::vector<std::string>()
                                                         : stops->second);
    }
    default:
      return make_native_answer(std::move(basis), {});
  }
}

/// A gap between prompt and suffix, in the words of the vocabulary.
Prompt fill_prompt(const FillMarks& marks, const std::string& prefix, const std::string& suffix) {
  const auto mark = [](const std::string& text) {
    PromptSegment segment;
    segment.text = text;
    segment.special = SpecialTokens::parsed;
    return segment;
  };
  const auto plain = [](const std::string& text) {
    PromptSegment segment;
    segment.text = text;
    return segment;
  };
  if (marks.suffix_first) {
    return {mark(marks.suffix), plain(suffix), mark(marks.prefix), plain(prefix)};
  }
  return {mark(marks.prefix), plain(prefix), mark(marks.suffix), plain(suffix), mark(marks.middle)};
}

/// Plans of bare texts.
class TextPlan {
 public:
  TextPlan(const Asked& asked, const ModelFacts& facts, GenerationOptions options,
           AnswerBasis& basis)
      : asked_(asked),
        what_(std::get<TextAsked>(asked.what)),
        facts_(facts),
        options_(std::move(options)),
        basis_(basis),
        room_(room_for_prompt(options_, facts.n_ctx)) {}

  struct Made {
    Prompt prompt;  ///< as rendered; empty for ids
    Request request;
  };

  /// The request of one prompt: text, or ids when `ids` is not null.
  ApiResult<Made> make(const std::string& text, const std::vector<Token>* ids) {
    Made made;
    made.request = request_of(asked_, options_);
    if (ids != nullptr) {
      made.request.ids = *ids;
    } else if (!what_.suffix.empty()) {
      if (!facts_.fill) {
        return refuse("suffix", fmt::format("\"{}\" does not support insert", facts_.name),
                      "unsupported");
      }
      made.prompt = fill_prompt(*facts_.fill, text, what_.suffix);
      encode(made);
    } else if (what_.raw) {
      PromptSegment segment;
      segment.text = text;
      segment.special = SpecialTokens::parsed;
      made.prompt.push_back(std::move(segment));
      encode(made);
    } else {
      LM_CHECK(in_template(text, made));
    }
    LM_CHECK(check_length(made.request));
    basis_.prompt_tokens += static_cast<std::uint32_t>(made.request.ids.size());
    return made;
  }

 private:
  void encode(Made& made) const {
    made.request.ids = encode_prompt(*facts_.tokenizer, made.prompt, true);
  }

  ApiResult<void> in_template(const std::string& text, Made& made) {
    std::optional<ChatFormat> own;
    if (what_.chat_template) {
      if (auto compiled = compile_template(*what_.chat_template, "template"); !compiled) {
        return std::unexpected(
            ApiError{400, "bad_template", api_error(compiled.error()).message, "template"});
      }
      own.emplace(*what_.chat_template, "template", *facts_.tokenizer);
    }
    const ChatFormat& format = own ? *own : *facts_.format;
    LM_TRY(Think think, think_of(asked_, format, facts_, basis_.warnings));
    std::vector<Message> messages;
    if (what_.system) {
      messages.push_back({.role = "system", .content = *what_.system});
    }
    messages.push_back({.role = "user", .content = text});
    messages = with_defaults(messages, facts_);
    const PromptMaker maker({.tokenizer = *facts_.tokenizer,
                             .format = format,
                             .think = std::move(think),
                             .tools_json = {},
                             .n_ctx = facts_.n_ctx,
                             .room = what_.context.empty() ? room_ : 0,
                             .dress = dress_of(asked_.endpoint)});
    LM_TRY(MadePrompt fitted,
           maker.text(std::move(messages), asked_.truncate, options_.n_keep, basis_.warnings));
    basis_.dropped_tokens += fitted.dropped;
    made.request.ids = std::move(fitted.ids);
    made.prompt = std::move(fitted.prompt);
    if (!what_.context.empty()) {
      made.request.ids = what_.context;
      const auto rest = encode_prompt(*facts_.tokenizer, made.prompt, false);
      made.request.ids.insert(made.request.ids.end(), rest.begin(), rest.end());
    }
    speak(made.request, format.dialect(), made.prompt);
    return {};
  }

  /// What is still too long is cut by the engine at its front, or refused.
  ApiResult<void> check_length(Request& request) const {
    if (room_ == 0 || request.ids.size() <= room_) {
      return {};
    }
    if (!asked_.truncate || !what_.suffix.empty()) {
      ApiError error = too_long(dress_of(asked_.endpoint), request.ids.size(), facts_.n_ctx);
      error.param = "prompt";
      return std::unexpected(std::move(error));
    }
    request.overflow = Overflow::truncate_front;
    return {};
  }

  const Asked& asked_;
  const TextAsked& what_;
  const ModelFacts& facts_;
  GenerationOptions options_;
  AnswerBasis& basis_;
  std::uint32_t room_;
};

}  // namespace

ApiResult<Work> plan_chat(const Asked& asked, const ModelFacts& facts, AnswerBasis basis) {
  const auto& what = std::get<ChatAsked>(asked.what);
  const ChatFormat& format = *facts.format;
  LM_TRY(const GenerationOptions options, options_of(asked, facts));
  if (!what.tools.json.empty() && !format.takes_tools()) {
    return refuse("tools", fmt::format("\"{}\" does not support tools", facts.name), "unsupported");
  }
  LM_TRY(Think think, think_of(asked, format, facts, basis.warnings));
  std::vector<Message> messages = with_defaults(what.messages, facts);
  if (!format.has_template() && messages.size() > 1) {
    basis.warnings.push_back(fmt::format(
        "{} has no chat template: the messages are given to it as plain lines", facts.name));
  }
  const bool counts = asked.purpose == Purpose::count;
  const PromptMaker maker({.tokenizer = *facts.tokenizer,
                           .format = format,
                           .think = std::move(think),
                           .tools_json = what.tools.json,
                           .n_ctx = facts.n_ctx,
                           .room = counts ? 0 : room_for_prompt(options, facts.n_ctx),
                           .dress = dress_of(asked.endpoint)});
  LM_TRY(MadePrompt made, maker.conversation(std::move(messages), asked.truncate, basis.warnings));
  if (counts) {
    return counted(std::move(basis), made.ids.size());
  }
  if (asked.purpose == Purpose::render) {
    return shown(std::move(basis), made.prompt);
  }
  basis.prompt_tokens = static_cast<std::uint32_t>(made.ids.size());
  basis.dropped_tokens = made.dropped;
  Request request = request_of(asked, options);
  request.ids = std::move(made.ids);
  speak(request, format.dialect(), made.prompt);
  request.tools_json = what.tools.json;
  request.tool_choice = what.tools.choice;
  request.tool_name = what.tools.name;
  if (asked.format.kind != OutputFormat::Kind::none && !what.tools.json.empty()) {
    basis.warnings.emplace_back(what.tools.choice == ToolChoice::automatic
                                    ? "an answer in the asked format can't call a tool"
                                    : "the format has no effect on a forced call");
  }
  Work work;
  add_choices(work, request, asked.n);
  work.answer = chat_answer(asked, facts, std::move(basis));
  return work;
}

ApiResult<Work> plan_text(const Asked& asked, const ModelFacts& facts, AnswerBasis basis) {
  const auto& what = std::get<TextAsked>(asked.what);
  LM_TRY(const GenerationOptions options, options_of(asked, facts));
  TextPlan plan(asked, facts, options, basis);
  Work work;
  CompletionExtras extras{.n = asked.n,
                          .best_of = what.best_of,
                          .logprobs = asked.logprobs,
                          .echoes = {},
                          .prompts = what.prompts.size() + what.ids.size()};
  NativeExtras native{.context = {}, .tokenizer = facts.tokenizer};
  for (std::size_t i = 0; i < extras.prompts; ++i) {
    const bool as_ids = i >= what.prompts.size();
    const std::string& text = as_ids ? what.suffix : what.prompts[i];
    LM_TRY(TextPlan::Made made,
           plan.make(text, as_ids ? &what.ids[i - what.prompts.size()] : nullptr));
    if (asked.purpose == Purpose::render) {
      return shown(std::move(basis), made.prompt);
    }
    if (what.echo) {
      extras.echoes.push_back(as_ids ? facts.tokenizer->decode(made.request.ids) : text);
    }
    if (!what.raw) {
      native.context = made.request.ids;
    }
    made.request.logprobs = made.request.logprobs || what.best_of > asked.n;
    add_choices(work, made.request, what.best_of);
  }
  work.answer = asked.endpoint == Endpoint::v1_completions
                    ? make_completion_answer(std::move(basis), std::move(extras))
                    : make_native_answer(std::move(basis), std::move(native));
  return work;
}

}  // namespace lm::api
