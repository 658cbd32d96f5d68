/// The text of an answer, as it streams, becomes content, thinking and tool calls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/chat/dialect.h"
#include "runtime/chat/message.h"

namespace lm {

/// A piece of an answer.
struct OutputEvent {
  enum class Kind : std::uint8_t { content, thinking, tool_call };
  Kind kind = Kind::content;
  std::string text;  ///< kinds content and thinking
  ToolCall call;     ///< kind tool_call; arguments are a JSON object, the id is never empty
};

/// Takes text in pieces of any size; how it is cut changes nothing but how content and thinking are
/// cut. Text that may be the beginning of a mark is held back until that is clear; calls come out
/// whole. What looks like a call and is none comes out as content: only marks and the white space
/// next to them ever vanish. Control tokens must be fed as they are spelt when `is_mark` says so.
class OutputParser {
 public:
  /// `id_seed`: ids of calls, where the model wrote none, follow from it ("call_" and 8
  /// characters).
  explicit OutputParser(Dialect dialect, std::uint64_t id_seed = 0);
  OutputParser(OutputParser&&) noexcept;
  OutputParser& operator=(OutputParser&&) noexcept;
  ~OutputParser();

  std::vector<OutputEvent> feed(std::string_view piece);
  /// The answer is over: what was held back.
  std::vector<OutputEvent> finish();

  class Language;  ///< how one group of families is read

 private:
  std::unique_ptr<Language> language_;
};

/// A call as one JSON object {"id", "name", "arguments": {…}}, the form in which the engine's
/// events carry it, and back. Errors: bad_value.
std::string tool_call_json(const ToolCall& call);
Result<ToolCall> parse_tool_call_json(std::string_view json);

}  // namespace lm
