/// What answers made of text have in common: choices that fill, one head, one end.
#pragma once

#include <string>
#include <vector>

#include "server/api/answer_text.h"
#include "server/api/answers.h"

namespace lm::api {

/// One job's text.
struct Choice {
  std::size_t index = 0;
  bool begun = false;  ///< something of it was streamed
  bool done = false;
  std::string content;
  std::string thinking;
  std::vector<ToolCall> calls;
  std::vector<TokenLogprobs> logprobs;
  Finish finish = Finish::stop;
  std::string stop_string;
  Stats stats;
};

class TextAnswer : public Answer {
 public:
  Output begin(Moment now) final;
  Output take(std::size_t job, Event event, Moment now) final;
  Output fail(const ApiError& error, Moment now) final;
  Output ping(Moment now) final;

 protected:
  TextAnswer(AnswerBasis basis, std::size_t jobs, Framing framing);

  // A stream's pieces; each gives bytes, or none.
  virtual std::string opening(Moment now);  ///< before anything else
  /// Text or thinking of a choice, which is not part of it yet.
  virtual std::string piece(Choice& choice, const Event& event, Moment now) = 0;
  virtual std::string call(Choice& choice, const ToolCall& call, Moment now) = 0;
  virtual std::string ending(Choice& choice, Moment now) = 0;
  virtual std::string closing(Moment now) = 0;  ///< behind the last choice's end
  virtual std::string error_frame(const ApiError& error) = 0;
  virtual std::string ping_frame();
  /// The answer that is no stream.
  virtual Json whole(Moment now) = 0;

  const AnswerBasis& basis() const { return basis_; }
  const std::vector<std::string>& warnings() const { return basis_.warnings; }
  std::vector<Choice>& choices() { return choices_; }
  IdMaker& ids() { return ids_; }
  std::string request_id() const { return request_id_; }
  /// Tokens of all prompts, generated ones, cached ones, dropped ones.
  std::uint32_t prompt_tokens() const;
  std::uint32_t generated_tokens() const;
  std::uint32_t cached_tokens() const;
  std::uint32_t dropped_tokens() const;

 private:
  Output open(Moment now);
  Output finish_choice(Choice& choice, Event& event, Moment now);

  AnswerBasis basis_;
  Framing framing_;
  std::vector<Choice> choices_;
  IdMaker ids_;
  std::string request_id_;
  bool open_ = false;
};

}  // namespace lm::api
