/// One answer: a request goes to the engine, its events come back.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cmd/load.h"
#include "cmd/report.h"
#include "server/api/chat_format.h"
#include "server/api/generation_options.h"

namespace lm::cmd {

/// Where an answer goes while it is made.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void content(std::string_view text) = 0;
  virtual void thinking(std::string_view text) = 0;
  virtual void tool_call(const ToolCall& call) = 0;
  virtual void warning(std::string_view text) = 0;
};

struct Answer {
  std::string content;
  std::string thinking;
  std::vector<ToolCall> tool_calls;
  Stats stats;
  Finish finish = Finish::stop;
  bool interrupted = false;
  std::chrono::nanoseconds total_time{0};
};

/// What is asked.
struct Question {
  Prompt prompt;
  api::GenerationOptions options;
  Overflow overflow = Overflow::error;
  std::uint32_t dropped_tokens = 0;  ///< left out while the prompt was made; joins the statistics
  Dialect dialect;  ///< how the model marks its thinking; none: its text is taken as it is
  OutputFormat format;
};

/// Submits and drives the request until its end. SIGINT and SIGTERM stop it: what was written
/// stays, `interrupted` is set and the flag cleared. Errors: those of the engine.
Result<Answer> generate(LoadedModel& loaded, const Question& question, AnswerSink& sink);

/// Tokens of a prompt, BOS included.
std::size_t count_tokens(const LoadedModel& loaded, const Prompt& prompt);

/// The lines of --verbose; a line whose value is 0 is left out.
std::string statistics_text(const LoadedModel& loaded, const Answer& answer);
/// The object of POST /api/generate without streaming.
nlohmann::ordered_json answer_json(const LoadedModel& loaded, const Answer& answer);

}  // namespace lm::cmd
