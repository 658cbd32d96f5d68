#include "server/api/prompt_maker.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "runtime/chat/fit_messages.h"

namespace lm::api {
namespace {

/// Neighbours of one role as one message; calls stay where they are.
std::vector<Message> joined(const std::vector<Message>& messages) {
  std::vector<Message> out;
  for (const Message& message : messages) {
    const bool joins = !out.empty() && out.back().role == message.role && message.role != "tool" &&
                       out.back().tool_calls.empty() && message.tool_calls.empty();
    if (!joins) {
      out.push_back(message);
      continue;
    }
    Message& last = out.back();
    last.content +=
        (last.content.empty() || message.content.empty() ? "" : "\n\n") + message.content;
    last.thinking += message.thinking;
  }
  return out;
}

/// The system's texts in front of the first message of the user.
std::vector<Message> without_system(const std::vector<Message>& messages) {
  std::string system;
  std::vector<Message> out;
  for (const Message& message : messages) {
    if (message.role == "system") {
      system += (system.empty() ? "" : "\n\n") + message.content;
    } else {
      out.push_back(message);
    }
  }
  const auto user = std::ranges::find(out, "user", &Message::role);
  if (system.empty() || user == out.end()) {
    return messages;
  }
  user->content = system + "\n\n" + user->content;
  return joined(out);
}

void note(std::vector<std::string>& warnings, std::string text) {
  if (std::ranges::find(warnings, text) == warnings.end()) {
    warnings.push_back(std::move(text));
  }
}

ApiError template_error(const Error& error) {
  ApiError out = api_error(error);
  // A template that can't be read is the model's fault, not the request's.
  if (error.code != ErrorCode::template_refused && error.code != ErrorCode::invalid_argument) {
    out.status = 500;
    out.param.clear();
  }
  return out;
}

}  // namespace

ApiError too_long(Dress dress, std::size_t tokens, std::size_t context) {
  ApiError error{400, "context_length_exceeded", {}, "messages"};
  error.message =
      dress == Dress::anthropic
          ? fmt::format("prompt is too long: {} tokens > {} maximum (the context length)", tokens,
                        context)
          : fmt::format(
                "the prompt has {} tokens, the context length is {}: shorten it, or ask "
                "for a larger num_ctx",
                tokens, context);
  return error;
}

std::size_t PromptMaker::goal() const {
  return rules_.room - std::min<std::size_t>(rules_.room / 4, 512);
}

Result<Prompt> PromptMaker::render(std::vector<Message>& messages,
                                   std::vector<std::string>& warnings) const {
  auto prompt = rules_.format.render(messages, rules_.think, rules_.tools_json);
  if (prompt || prompt.error().code != ErrorCode::template_refused) {
    return prompt;
  }
  std::vector<Message> other = joined(messages);
  if (auto again = rules_.format.render(other, rules_.think, rules_.tools_json); again) {
    note(warnings,
         "neighbouring messages of one role were put together, as the model's template "
         "wants them in turns");
    messages = std::move(other);
    return again;
  }
  other = without_system(messages);
  if (auto again = rules_.format.render(other, rules_.think, rules_.tools_json); again) {
    note(warnings,
         "the model's template takes no system message: its text was put in front of the "
         "user's first message");
    messages = std::move(other);
    return again;
  }
  return prompt;
}

ApiResult<MadePrompt> PromptMaker::made(Prompt prompt) const {
  MadePrompt out;
  out.ids = encode_prompt(rules_.tokenizer, prompt, true);
  out.prompt = std::move(prompt);
  return out;
}

ApiResult<MadePrompt> PromptMaker::conversation(std::vector<Message> messages, bool truncate,
                                                std::vector<std::string>& warnings) const {
  auto prompt = render(messages, warnings);
  if (!prompt) {
    return std::unexpected(template_error(prompt.error()));
  }
  LM_TRY(MadePrompt whole, made(std::move(*prompt)));
  const std::size_t n_whole = whole.ids.size();
  if (fits(n_whole)) {
    return whole;
  }
  if (!truncate) {
    return std::unexpected(too_long(rules_.dress, n_whole, rules_.n_ctx));
  }
  std::vector<std::string> unsaid;
  const CountTokens count = [&](const std::vector<Message>& some) -> Result<std::size_t> {
    std::vector<Message> copy = some;
    LM_TRY(const Prompt shorter, render(copy, unsaid));
    return encode_prompt(rules_.tokenizer, shorter, true).size();
  };
  auto fitted = fit_messages(messages, goal(), count);
  if (!fitted && fitted.error().code == ErrorCode::context_exceeded) {
    fitted = fit_messages(messages, rules_.room, count);
  }
  if (!fitted) {
    return std::unexpected(fitted.error().code == ErrorCode::context_exceeded
                               ? too_long(rules_.dress, n_whole, rules_.n_ctx)
                               : template_error(fitted.error()));
  }
  auto shorter = render(messages, warnings);
  if (!shorter) {
    return std::unexpected(template_error(shorter.error()));
  }
  LM_TRY(MadePrompt out, made(std::move(*shorter)));
  out.dropped = static_cast<std::uint32_t>(n_whole - out.ids.size());
  note(warnings,
       fmt::format("the conversation has {} tokens and the context {}: its oldest {} tokens ({} "
                   "messages) were dropped",
                   n_whole, rules_.n_ctx, out.dropped, fitted->dropped_messages));
  return out;
}

ApiResult<MadePrompt> PromptMaker::text(std::vector<Message> messages, bool truncate,
                                        std::int32_t n_keep,
                                        std::vector<std::string>& warnings) const {
  std::size_t n_whole = 0;
  for (int round = 0;; ++round) {
    auto prompt = render(messages, warnings);
    if (!prompt) {
      return std::unexpected(template_error(prompt.error()));
    }
    LM_TRY(MadePrompt out, made(std::move(*prompt)));
    n_whole = round == 0 ? out.ids.size() : n_whole;
    if (fits(out.ids.size())) {
      out.dropped = static_cast<std::uint32_t>(n_whole - std::min(n_whole, out.ids.size()));
      if (out.dropped > 0) {
        note(warnings, fmt::format("the prompt has {} tokens and the context {}: {} tokens of its "
                                   "front were dropped",
                                   n_whole, rules_.n_ctx, out.dropped));
      }
      return out;
    }
    std::string& content = messages.back().content;
    std::vector<Token> tokens;
    rules_.tokenizer.encode(content, SpecialTokens::as_text, false, tokens);
    const std::size_t keep =
        n_keep < 0 ? tokens.size()
                   : std::min<std::size_t>(static_cast<std::size_t>(n_keep), tokens.size() / 2);
    // Text that was cut has other tokens than before, so this may take a few rounds.
    const std::size_t drop = std::min(out.ids.size() - goal(), tokens.size() - keep);
    if (!truncate || drop == 0 || round > 8) {
      return std::unexpected(too_long(rules_.dress, n_whole, rules_.n_ctx));
    }
    const std::span<const Token> all(tokens);
    content = rules_.tokenizer.decode(all.first(keep)) +
              rules_.tokenizer.decode(all.subspan(keep + drop));
  }
}

}  // namespace lm::api
