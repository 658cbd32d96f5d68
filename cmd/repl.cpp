#include "cmd/repl.h"

#include <fmt/format.h>

#include "cmd/answer_printer.h"
#include "cmd/line_editor.h"
#include "cmd/output.h"
#include "cmd/repl_commands.h"
#include "cmd/settings.h"
#include "cmd/signals.h"
#include "store/store.h"

namespace lm::cmd {
namespace {

constexpr std::string_view kBlock = "\"\"\"";

/// An open """ block: more lines belong to it.
bool is_unfinished(std::string_view text) {
  const std::size_t begin = text.find(kBlock);
  const bool opens =
      begin == 0 || (begin != std::string_view::npos && text.starts_with("/set system"));
  if (!opens) {
    return false;
  }
  const std::string_view inside = text.substr(begin + kBlock.size());
  return !inside.ends_with(kBlock);
}

/// The text of a message: quotes of a block removed.
std::string unquoted(const std::string& text) {
  if (!text.starts_with(kBlock) || text.size() < 2 * kBlock.size() || !text.ends_with(kBlock)) {
    return text;
  }
  return text.substr(kBlock.size(), text.size() - 2 * kBlock.size());
}

Result<std::filesystem::path> history_path() {
  LM_TRY(const bool off, setting_flag("LM_NOHISTORY"));
  if (off) {
    return std::filesystem::path();
  }
  LM_TRY(const std::filesystem::path home, store::default_home());
  return home / "history";
}

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\n") == std::string::npos;
}

}  // namespace

Result<void> ask_and_print(ReplState& state, Ask what, const std::string& text) {
  AnswerPrinter printer(
      answer_style(state.settings.plain, state.settings.word_wrap, state.settings.show_thinking));
  std::optional<Result<Answer>> answer;
  if (what == Ask::again) {
    answer = state.session->retry(printer);
    if (!answer) {
      return failure("invalid_argument", "/retry", "there is no answer to make again yet");
    }
  } else {
    answer = state.session->ask(text, printer);
  }
  if (!*answer) {
    printer.abandon();
    return std::unexpected(std::move(*answer).error());
  }
  printer.finish();
  print("\n");
  flush();
  const Answer& made = **answer;
  if (made.finish == Finish::length && made.stats.context_used >= made.stats.context_size) {
    print_note(fmt::format("The answer ends here: the context of {} tokens is full.",
                           made.stats.context_size));
  }
  if (state.settings.verbose) {
    print_to_stderr(statistics_text(state.session->loaded(), made) + "\n");
  }
  state.last_answer = std::move(**answer);
  return {};
}

Result<ExitCode> run_repl(std::unique_ptr<ChatSession> session, ReplSettings settings) {
  LM_TRY(std::filesystem::path history, history_path());
  LM_TRY(const SettingValue editor, setting("LM_EDITOR"));
  ReplState state{.session = std::move(session),
                  .settings = std::move(settings),
                  .history = History(std::move(history)),
                  .last_answer = std::nullopt,
                  .leave = false};
  LineEditorOptions options;
  options.placeholder = "Send a message (/? for help)";
  options.editor = editor.text;
  options.unfinished = is_unfinished;
  options.complete = complete_line;
  LineEditor line_editor(std::move(options), state.history);
  while (!state.leave) {
    if (termination_requested()) {
      return ExitCode::interrupted;
    }
    const LineResult line = line_editor.read();
    if (line.end == LineEnd::left) {
      return termination_requested() ? ExitCode::interrupted : ExitCode::ok;
    }
    if (line.end == LineEnd::dropped) {
      if (line.text.empty()) {
        print_note("Use Ctrl+D or /bye to leave.");
      }
      continue;
    }
    if (is_blank(line.text)) {
      continue;
    }
    // A path such as /tmp/x.txt is a message: commands have no second slash in their first word.
    const std::string first_word = line.text.substr(0, line.text.find_first_of(" \n"));
    const bool is_command =
        first_word.starts_with('/') && first_word.find('/', 1) == std::string::npos;
    const Result<void> done = is_command ? run_slash_command(state, line.text)
                                         : ask_and_print(state, Ask::message, unquoted(line.text));
    if (!done) {
      print_failure(done.error(), false);
    }
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
