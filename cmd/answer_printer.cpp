#include "cmd/answer_printer.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "cmd/output.h"
#include "cmd/terminal.h"

namespace lm::cmd {
namespace {

constexpr std::string_view kGrey = "\x1b[90m";
constexpr std::string_view kReset = "\x1b[0m";

}  // namespace

AnswerStyle answer_style(bool plain, bool word_wrap, bool show_thinking) {
  const bool terminal = stdout_is_terminal();
  const bool escapes = terminal && !plain && terminal_takes_escapes();
  return {.terminal = terminal,
          .colour = escapes && terminal_takes_colour(),
          .word_wrap = escapes && word_wrap,
          .show_thinking = show_thinking,
          .silent = false};
}

void AnswerPrinter::write(std::string_view text) {
  if (style_.silent) {
    return;
  }
  wrote_ = true;
  if (!style_.terminal) {
    print(text);
  } else if (style_.word_wrap) {
    write_wrapped(drop_controls(text));
  } else {
    print(drop_controls(text));
  }
  flush();
}

void AnswerPrinter::write_wrapped(std::string_view text) {
  const std::size_t width = terminal_width(STDOUT_FILENO);
  const std::size_t limit = width > 15 ? width - 5 : width;
  const std::size_t longest_word = width > 15 ? width - 10 : 0;
  while (!text.empty()) {
    const Character c = next_character(text);
    const std::string_view bytes = text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
    const std::size_t columns = c.code == '\t' ? 8 - column_ % 8 : character_width(c.code);
    const bool blank = c.code == ' ' || c.code == '\t';
    if (c.code == '\n') {
      print("\n");
      column_ = word_columns_ = 0;
      word_.clear();
      continue;
    }
    if (column_ + columns > limit) {
      if (blank) {
        print("\n");
        column_ = word_columns_ = 0;
        word_.clear();
        continue;
      }
      if (word_columns_ > 0 && word_columns_ < column_ && word_columns_ <= longest_word) {
        // The word began on this line: it moves to the next one.
        print(fmt::format("\x1b[{}D\x1b[K\n{}", word_columns_, word_));
        column_ = word_columns_;
      }
    }
    print(bytes);
    column_ += columns;
    if (blank) {
      word_.clear();
      word_columns_ = 0;
    } else {
      word_ += bytes;
      word_columns_ += columns;
    }
    if (column_ >= width) {  // the terminal has broken the line by itself
      column_ = 0;
      word_columns_ = 0;
      word_.clear();
    }
  }
}

void AnswerPrinter::thinking(std::string_view text) {
  if (!style_.show_thinking || style_.silent) {
    return;
  }
  if (!in_thinking_) {
    in_thinking_ = true;
    write("Thinking...\n");
    if (style_.colour) {
      print(kGrey);
    }
    text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  }
  write(text);
}

void AnswerPrinter::close_thinking() {
  if (!in_thinking_) {
    return;
  }
  in_thinking_ = false;
  if (style_.colour) {
    print(kReset);
  }
  write("\n...done thinking.\n\n");
}

void AnswerPrinter::content(std::string_view text) {
  close_thinking();
  write(text);
}

void AnswerPrinter::tool_call(const ToolCall& call) {
  close_thinking();
  write(
      fmt::format("{}Tool call: {} {}\n", column_ > 0 ? "\n" : "", call.name, call.arguments_json));
}

void AnswerPrinter::warning(std::string_view text) {
  print_warning(text);
}

void AnswerPrinter::abandon() {
  if (wrote_) {
    finish();
  }
}

void AnswerPrinter::finish() {
  close_thinking();
  if (!style_.silent) {
    print("\n");
    flush();
  }
  column_ = word_columns_ = 0;
  word_.clear();
}

}  // namespace lm::cmd
