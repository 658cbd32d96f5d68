#include "cmd/chat_session.h"

#include <algorithm>

#include <fmt/format.h>

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
                         ChatFormat format)
    : loaded_(std::move(loaded)), choices_(std::move(choices)), format_(std::move(format)) {}

Result<std::unique_ptr<ChatSession>> ChatSession::create(std::unique_ptr<LoadedModel> loaded,
                                                         ChatChoices choices) {
  const Tokenizer* tokenizer = loaded->model->tokenizer();
  if (tokenizer == nullptr) {
    return failure("missing", loaded->name, "has no vocabulary, so it can't read or write text");
  }
  ChatFormat format(loaded->template_source, loaded->name, *tokenizer);
  std::unique_ptr<ChatSession> session(
      new ChatSession(std::move(loaded), std::move(choices), std::move(format)));
  LM_CHECK(session->apply_parameters());
  LM_CHECK(session->set_think(session->choices_.think));
  session->clear();
  return session;
}

ParameterTexts ChatSession::parameters() const {
  ParameterTexts all = loaded_->manifest ? loaded_->manifest->parameters : ParameterTexts{};
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

Result<void> ChatSession::set_think(Think think) {
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
  ParameterTexts changed = choices_.parameters;
  changed.erase(name);
  for (const std::string& value : values) {
    LM_CHECK(add_parameter(changed, name, value));
  }
  std::swap(choices_.parameters, changed);
  const GenerationOptions before = options_;
  if (auto applied = apply_parameters(); !applied) {
    std::swap(choices_.parameters, changed);
    options_ = before;
    return applied;
  }
  if (options_.n_ctx == before.n_ctx && options_.n_batch == before.n_batch) {
    return {};
  }
  EngineOptions engine;
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

Result<Question> ChatSession::question(std::vector<Message>& messages, AnswerSink& sink) const {
  Question made;
  made.options = options_;
  made.format = choices_.format;
  made.split_thinking = format_.thinks();
  made.overflow =
      choices_.long_prompt == LongPrompt::cut_front ? Overflow::truncate_front : Overflow::error;
  LM_TRY(made.prompt, format_.render(messages, choices_.think));
  if (choices_.long_prompt != LongPrompt::drop_messages) {
    return made;
  }
  // Room is kept for an answer: a quarter of the context, at most 512 tokens.
  const std::size_t n_ctx = loaded_->engine->n_ctx();
  const std::size_t limit = n_ctx - std::min<std::size_t>(n_ctx / 4, 512);
  const std::size_t whole = count_tokens(*loaded_, made.prompt);
  std::size_t left = whole;
  while (left > limit) {
    const auto oldest = std::find_if(messages.begin(), messages.end() - 1,
                                     [](const Message& m) { return m.role != "system"; });
    if (oldest == messages.end() - 1) {
      break;
    }
    messages.erase(oldest);
    LM_TRY(made.prompt, format_.render(messages, choices_.think));
    left = count_tokens(*loaded_, made.prompt);
  }
  if (left < whole) {
    sink.warning(
        fmt::format("the conversation is longer than the context of {} tokens; its oldest {} "
                    "tokens were dropped",
                    n_ctx, whole - left));
  }
  return made;
}

Result<Answer> ChatSession::ask(const std::string& text, AnswerSink& sink) {
  std::vector<Message> messages = messages_;
  messages.push_back(message("user", text));
  LM_TRY(const Question made, question(messages, sink));
  LM_TRY(Answer answer, generate(*loaded_, made, sink));
  Message reply = message("assistant", answer.content);
  reply.thinking = answer.thinking;
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
