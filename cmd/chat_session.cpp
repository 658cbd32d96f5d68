#include "cmd/chat_session.h"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/chat/fit_messages.h"

namespace lm::cmd {
namespace {

Message message(std::string role, std::string content) {
  Message made;
  made.role = std::move(role);
  made.content = std::move(content);
  return made;
}

}  // namespace

ChatSession::ChatSession(std::unique_ptr<LoadedModel> loaded, ChatChoices choices,
                         api::ChatFormat format)
    : loaded_(std::move(loaded)), choices_(std::move(choices)), format_(std::move(format)) {}

Result<std::unique_ptr<ChatSession>> ChatSession::create(std::unique_ptr<LoadedModel> loaded,
                                                         ChatChoices choices) {
  const Tokenizer* tokenizer = loaded->model->tokenizer();
  if (tokenizer == nullptr) {
    return failure("missing", loaded->name, "has no vocabulary, so it can't read or write text");
  }
  api::ChatFormat format(loaded->template_source, loaded->name, *tokenizer);
  std::unique_ptr<ChatSession> session(
      new ChatSession(std::move(loaded), std::move(choices), std::move(format)));
  LM_CHECK(session->apply_parameters());
  LM_CHECK(session->set_think(session->choices_.think));
  session->clear();
  return session;
}

api::ParameterTexts ChatSession::parameters() const {
  api::ParameterTexts all =
      loaded_->manifest ? loaded_->manifest->parameters : api::ParameterTexts{};
  for (const auto& [name, values] : choices_.parameters) {
    all[name] = values;
  }
  return all;
}

std::string ChatSession::system() const {
  const auto found = std::find_if(messages_.rbegin(), messages_.rend(),
                                  [](const Message& m) { return m.role == "system"; });
  return found == messages_.rend() ? std::string() : found->content;
}

Result<void> ChatSession::apply_parameters() {
  options_ = {};
  if (loaded_->manifest) {
    LM_CHECK(options_.set_all(loaded_->manifest->parameters));
  }
  return options_.set_all(choices_.parameters);
}

Result<void> ChatSession::set_think(api::Think think) {
  if (think && *think != "false" && !format_.thinks()) {
    return failure("unsupported", loaded_->name, "does not support thinking", "leave --think out");
  }
  choices_.think = std::move(think);
  return {};
}

void ChatSession::clear() {
  messages_.clear();
  std::string system = choices_.system.value_or("");
  if (!choices_.system && loaded_->manifest) {
    system = loaded_->manifest->system;
  }
  if (!system.empty()) {
    messages_.push_back(message("system", system));
  }
  if (loaded_->manifest) {
    for (const store::ManifestMessage& m : loaded_->manifest->messages) {
      messages_.push_back(message(m.role, m.content));
    }
  }
}

void ChatSession::set_system(const std::string& text) {
  choices_.system = text;
  if (!messages_.empty() && messages_.back().role == "system") {
    messages_.pop_back();
  }
  messages_.push_back(message("system", text));
}

Result<void> ChatSession::set_parameter(const std::string& name,
                                        const std::vector<std::string>& values) {
  api::ParameterTexts changed = choices_.parameters;
  changed.erase(name);
  for (const std::string& value : values) {
    LM_CHECK(api::add_parameter(changed, name, value));
  }
  std::swap(choices_.parameters, changed);
  const api::GenerationOptions before = options_;
  if (auto applied = apply_parameters(); !applied) {
    std::swap(choices_.parameters, changed);
    options_ = before;
    return applied;
  }
  if (options_.n_ctx == before.n_ctx && options_.n_batch == before.n_batch) {
    return {};
  }
  EngineOptions engine;
  engine.draft_model = loaded_->draft_model;
  LM_TRY(engine.session, session_options({.devices = {},
                                          .n_ctx = options_.n_ctx,
                                          .kv_type = loaded_->kv_type,
                                          .n_batch = options_.n_batch}));
  auto made = Engine::create(loaded_->model, engine);
  if (!made) {
    std::swap(choices_.parameters, changed);
    options_ = before;
    return std::unexpected(Failure(made.error()));
  }
  loaded_->engine = std::move(*made);
  return {};
}

Result<Question> ChatSession::question(std::vector<Message>& messages, AnswerSink& sink) {
  Question made;
  made.options = options_;
  made.format = choices_.format;
  made.dialect = format_.dialect();
  LM_CHECK(fit(messages, made, sink));
  LM_TRY(made.prompt, format_.render(messages, choices_.think));
  // One text goes to the model as it is; only a conversation needs a form.
  if (!format_.has_template() && messages.size() > 1 && !warned_) {
    warned_ = true;
    sink.warning(
        fmt::format("{} has no chat template and its vocabulary names none; the messages are given "
                    "to it as plain lines",
                    loaded_->name));
  }
  return made;
}

/// Makes the conversation as short as the setting for long prompts allows, and says what went. What
/// is left too long the engine refuses with both numbers.
Result<void> ChatSession::fit(std::vector<Message>& messages, Question& made,
                              AnswerSink& sink) const {
  if (choices_.long_prompt == LongPrompt::error) {
    return {};
  }
  // Room is kept for an answer: a quarter of the context, at most 512 tokens.
  const std::size_t n_ctx = loaded_->engine->n_ctx();
  const std::size_t limit = n_ctx - std::min<std::size_t>(n_ctx / 4, 512);
  const CountTokens count = [this](const std::vector<Message>& some) -> lm::Result<std::size_t> {
    LM_TRY(const Prompt prompt, format_.render(some, choices_.think));
    return count_tokens(*loaded_, prompt);
  };
  LM_TRY(const std::size_t whole, count(messages));
  std::size_t left = whole;
  auto fitted = fit_messages(messages, limit, count);
  if (fitted) {
    left = fitted->tokens;
  } else if (fitted.error().code == ErrorCode::context_exceeded &&
             choices_.long_prompt == LongPrompt::cut_front) {
    LM_TRY(left, cut_last_message(messages, limit, count));
  } else if (fitted.error().code != ErrorCode::context_exceeded) {
    return std::unexpected(Failure(fitted.error()));
  }
  if (left < whole) {
    made.dropped_tokens = static_cast<std::uint32_t>(whole - left);
    sink.warning(
        fmt::format("the conversation has {} tokens and the context {}; its oldest {} tokens "
                    "were dropped",
                    whole, n_ctx, whole - left));
  }
  return {};
}

/// Drops the front of the last message's text, beside the system's messages alone, until `limit`
/// tokens are left; returns how many there are.
Result<std::size_t> ChatSession::cut_last_message(std::vector<Message>& messages, std::size_t limit,
                                                  const CountTokens& count) const {
  Message last = std::move(messages.back());
  messages.pop_back();
  std::erase_if(messages, [](const Message& m) { return m.role != "system"; });
  messages.push_back(std::move(last));
  const Tokenizer& tokenizer = *loaded_->model->tokenizer();
  LM_TRY(std::size_t left, count(messages));
  while (left > limit) {
    std::vector<Token> tokens;
    tokenizer.encode(messages.back().content, SpecialTokens::as_text, false, tokens);
    if (tokens.empty()) {
      break;
    }
    // Text cut anywhere may have other tokens than before, so this takes a few rounds.
    const std::size_t drop = std::min(tokens.size(), left - limit);
    messages.back().content = tokenizer.decode(std::span(tokens).subspan(drop));
    LM_TRY(left, count(messages));
  }
  return left;
}

Result<Answer> ChatSession::ask(const std::string& text, AnswerSink& sink) {
  std::vector<Message> messages = messages_;
  messages.push_back(message("user", text));
  LM_TRY(const Question made, question(messages, sink));
  LM_TRY(Answer answer, generate(*loaded_, made, sink));
  Message reply = message("assistant", answer.content);
  reply.thinking = answer.thinking;
  reply.tool_calls = answer.tool_calls;
  messages.push_back(std::move(reply));
  messages_ = std::move(messages);
  return answer;
}

Result<Answer> ChatSession::ask_raw(const std::string& text, AnswerSink& sink) {
  Question made;
  made.options = options_;
  made.format = choices_.format;
  made.overflow =
      choices_.long_prompt == LongPrompt::cut_front ? Overflow::truncate_front : Overflow::error;
  PromptSegment segment;
  segment.text = text;
  segment.special = SpecialTokens::parsed;
  made.prompt.push_back(std::move(segment));
  return generate(*loaded_, made, sink);
}

std::optional<Result<Answer>> ChatSession::retry(AnswerSink& sink) {
  const auto last_user = std::find_if(messages_.rbegin(), messages_.rend(),
                                      [](const Message& m) { return m.role == "user"; });
  if (last_user == messages_.rend() || last_user == messages_.rbegin()) {
    return std::nullopt;
  }
  const std::vector<Message> before = messages_;
  const std::string text = last_user->content;
  messages_.erase(last_user.base() - 1, messages_.end());
  Result<Answer> answer = ask(text, sink);
  if (!answer) {
    messages_ = before;
  }
  return answer;
}

bool ChatSession::undo() {
  const auto last_user = std::find_if(messages_.rbegin(), messages_.rend(),
                                      [](const Message& m) { return m.role == "user"; });
  if (last_user == messages_.rend()) {
    return false;
  }
  messages_.erase(last_user.base() - 1, messages_.end());
  return true;
}

}  // namespace lm::cmd
