/// The conversation at a terminal.
#pragma once

#include "cmd/chat_session.h"
#include "cmd/load.h"
#include "cmd/report.h"

namespace lm::cmd {

struct ReplSettings {
  bool verbose = false;
  bool plain = false;
  bool word_wrap = true;
  bool show_thinking = true;
  bool keep_history = true;
  LoadSettings load;  ///< for /load
};

/// Reads lines and slash commands until /bye or Ctrl+D.
Result<ExitCode> run_repl(std::unique_ptr<ChatSession> session, ReplSettings settings);

}  // namespace lm::cmd
