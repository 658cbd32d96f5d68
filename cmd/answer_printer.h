/// An answer on stdout as it comes: bytes as they are into files, safe and wrapped on a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cmd/generate.h"

namespace lm::cmd {

struct AnswerStyle {
  bool terminal = false;   ///< control characters are dropped
  bool colour = false;     ///< grey thinking
  bool word_wrap = false;  ///< words that don't fit move to the next line
  bool show_thinking = true;
  bool silent = false;  ///< collect only (--json)
};

/// The style for this process's stdout.
AnswerStyle answer_style(bool plain, bool word_wrap, bool show_thinking);

class AnswerPrinter : public AnswerSink {
 public:
  explicit AnswerPrinter(const AnswerStyle& style) : style_(style) {}
  void content(std::string_view text) override;
  void thinking(std::string_view text) override;
  void tool_call(const ToolCall& call) override;
  void warning(std::string_view text) override;
  /// Ends the answer: closes an open thinking part, the line and the colour.
  void finish();
  /// As `finish`, after an error: only when something was written.
  void abandon();

 private:
  void close_thinking();
  void write(std::string_view text);
  void write_wrapped(std::string_view text);

  AnswerStyle style_;
  bool in_thinking_ = false;
  bool wrote_ = false;
  std::size_t column_ = 0;
  std::string word_;  ///< since the last blank of the line
  std::size_t word_columns_ = 0;
};

}  // namespace lm::cmd
