/// A conversation with a loaded model: messages, settings, and the road from a text to an answer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/generate.h"
#include "cmd/load.h"
#include "runtime/chat/fit_messages.h"
#include "server/api/chat_format.h"

namespace lm::cmd {

/// What to do with a conversation that is longer than the context.
enum class LongPrompt {
  error,          ///< refuse with both numbers
  cut_front,      ///< drop the oldest messages, then the front of the last one
  drop_messages,  ///< drop the oldest messages; system messages and the last one stay
};

/// What the user chose; it lies over what the model brings.
struct ChatChoices {
  api::ParameterTexts parameters;
  std::optional<std::string> system;
  api::Think think;
  LongPrompt long_prompt = LongPrompt::error;
  OutputFormat format = {};  ///< of every answer
};

class ChatSession {
 public:
  /// Errors: parameters of the stored model that are out of range; thinking asked of a model that
  /// doesn't.
  static Result<std::unique_ptr<ChatSession>> create(std::unique_ptr<LoadedModel> loaded,
                                                     ChatChoices choices);

  LoadedModel& loaded() { return *loaded_; }
  const std::vector<Message>& messages() const { return messages_; }
  const ChatChoices& choices() const { return choices_; }
  /// Parameters in force: the model's under the user's.
  api::ParameterTexts parameters() const;
  /// The system message in force, or empty.
  std::string system() const;

  /// Adds `text` as the user's message and answers it; the answer joins the messages, also an
  /// interrupted one. On an error the conversation is as before.
  Result<Answer> ask(const std::string& text, AnswerSink& sink);
  /// Answers `text` as it is, outside the conversation: no template, special tokens parsed.
  Result<Answer> ask_raw(const std::string& text, AnswerSink& sink);
  /// Takes the last answer back and makes it anew. None: there is no answer yet.
  std::optional<Result<Answer>> retry(AnswerSink& sink);
  /// Takes back the last question with its answer; false when there is none.
  bool undo();
  /// Drops the messages but the ones the model and the user's system text begin with.
  void clear();
  /// Replaces a directly preceding system message, else appends one.
  void set_system(const std::string& text);
  /// Sets one option; a new context or batch rebuilds the engine, the weights stay. Errors:
  /// invalid_argument.
  Result<void> set_parameter(const std::string& name, const std::vector<std::string>& values);
  Result<void> set_think(api::Think think);

 private:
  ChatSession(std::unique_ptr<LoadedModel> loaded, ChatChoices choices, api::ChatFormat format);
  Result<void> apply_parameters();
  Result<Question> question(std::vector<Message>& messages, AnswerSink& sink);
  Result<void> fit(std::vector<Message>& messages, Question& made, AnswerSink& sink) const;
  Result<std::size_t> cut_last_message(std::vector<Message>& messages, std::size_t limit,
                                       const CountTokens& count) const;

  std::unique_ptr<LoadedModel> loaded_;
  ChatChoices choices_;
  api::ChatFormat format_;
  api::GenerationOptions options_;
  std::vector<Message> messages_;
  bool warned_ = false;  ///< of the missing template
};

}  // namespace lm::cmd
