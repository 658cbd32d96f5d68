/// Slash commands of an interactive session.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/chat_session.h"
#include "cmd/history.h"
#include "cmd/repl.h"

namespace lm::cmd {

/// What an interactive session consists of.
struct ReplState {
  std::unique_ptr<ChatSession> session;
  ReplSettings settings;
  History history;
  std::optional<Answer> last_answer;
  bool leave = false;
};

/// Runs a line that begins with '/'. Names are matched by prefix; unknown ones get one line on
/// stderr. Failures are reported by the caller and leave the session as it was.
Result<void> run_slash_command(ReplState& state, const std::string& line);

/// Words that may complete `text`: slash commands, parameters, model names, paths.
std::vector<std::string> complete_line(std::string_view text);

/// Answers and prints; used for messages, /retry and /edit.
enum class Ask { message, again };
Result<void> ask_and_print(ReplState& state, Ask what, const std::string& text);

}  // namespace lm::cmd
