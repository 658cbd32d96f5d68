/// What the readers of answers have in common: text that is held back, events that go out.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/chat/offered_tools.h"
#include "runtime/chat/output_parser.h"
#include "runtime/chat/tool_call_reader.h"

namespace lm {

class OutputParser::Language {
 public:
  virtual ~Language() = default;

  std::vector<OutputEvent> feed(std::string_view piece) {
    held_ += piece;
    read(false);
    return std::exchange(events_, {});
  }
  std::vector<OutputEvent> finish() {
    read(true);
    return std::exchange(events_, {});
  }

 protected:
  Language(Dialect dialect, std::uint64_t id_seed)
      : dialect_(std::move(dialect)), tools_(dialect_.tools_json), id_state_(id_seed) {}

  /// Turns what is clear in `held_` into events; `at_end`: everything is.
  virtual void read(bool at_end) = 0;

  void emit(OutputEvent::Kind kind, std::string_view text);
  void emit_calls(std::vector<ToolCall> calls);
  /// The first `n` bytes of what is held are done with.
  void drop(std::size_t n) { held_.erase(0, n); }

  Dialect dialect_;
  OfferedTools tools_;
  std::string held_;

 private:
  std::string next_id();

  std::vector<OutputEvent> events_;
  std::uint64_t id_state_;
};

/// gpt-oss: messages on channels.
std::unique_ptr<OutputParser::Language> make_harmony_reader(Dialect dialect, std::uint64_t id_seed);
/// All others: marks in a text.
std::unique_ptr<OutputParser::Language> make_marks_reader(Dialect dialect, std::uint64_t id_seed);

/// Bytes of the longest end of `text` that begins `mark` without being all of it.
std::size_t partial_mark(std::string_view text, std::string_view mark);

}  // namespace lm
