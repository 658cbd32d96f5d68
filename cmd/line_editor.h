/// A line (or several) typed at a terminal, with editing keys, history, search, completion and
/// bracketed paste.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/edit_buffer.h"
#include "cmd/history.h"
#include "cmd/signals.h"

namespace lm::cmd {

enum class LineEnd {
  submitted,
  dropped,  ///< Ctrl+C: the line is gone (`text` tells whether there was one)
  left,     ///< Ctrl+D on an empty line, or the terminal went away
};

struct LineResult {
  LineEnd end = LineEnd::left;
  std::string text;
};

struct LineEditorOptions {
  std::string prompt = ">>> ";
  std::string continuation = "... ";
  std::string placeholder;  ///< grey, while the line is empty
  std::string editor;       ///< command for Ctrl+G
  /// Enter submits unless this says that the text is unfinished (an open """ block).
  std::function<bool(std::string_view text)> unfinished;
  /// Words that may stand instead of the text's last word.
  std::function<std::vector<std::string>(std::string_view text)> complete;
};

class LineEditor {
 public:
  LineEditor(LineEditorOptions options, History& history)
      : options_(std::move(options)), history_(history) {}

  /// Reads one message. From the first one to the editor's end the terminal hands over keys as they
  /// are typed and echoes nothing, so that what is typed during an answer waits for the next
  /// message.
  LineResult read();

 private:
  enum class Outcome { go_on, done };

  LineResult read_plain();
  Outcome key(unsigned char byte);
  Outcome escape_sequence();
  Outcome enter();
  Outcome leave();
  void recall(int step);
  void paste();
  void search();
  void complete();
  void suspend();
  void edit_outside();
  void clear_screen();
  void redraw();
  void draw_text(const std::string& prompt, const std::string& text, std::size_t cursor,
                 bool placeholder);
  void forget_drawing() { cursor_row_ = 0; }

  LineResult read_keys();
  int read_byte(int timeout_ms = -1);

  LineEditorOptions options_;
  std::optional<TerminalModes> modes_;  ///< from the first input to the end of the session
  History& history_;
  EditBuffer buffer_;
  std::size_t history_at_ = 0;
  std::string draft_;           ///< what was typed before history was recalled
  std::size_t cursor_row_ = 0;  ///< row of the cursor below the prompt's first row, as drawn
  LineResult result_;
};

}  // namespace lm::cmd
