#include "runtime/chat/output_parser.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/chat/json_scanner.h"
#include "runtime/chat/output_language.h"

namespace lm {

OutputParser::OutputParser(Dialect dialect, std::uint64_t id_seed)
    : language_(dialect.family == OutputFamily::harmony
                    ? make_harmony_reader(std::move(dialect), id_seed)
                    : make_marks_reader(std::move(dialect), id_seed)) {}
OutputParser::OutputParser(OutputParser&&) noexcept = default;
OutputParser& OutputParser::operator=(OutputParser&&) noexcept = default;
OutputParser::~OutputParser() = default;

std::vector<OutputEvent> OutputParser::feed(std::string_view piece) {
  return language_->feed(piece);
}

std::vector<OutputEvent> OutputParser::finish() {
  return language_->finish();
}

void OutputParser::Language::emit(OutputEvent::Kind kind, std::string_view text) {
  if (text.empty()) {
    return;
  }
  if (events_.empty() || events_.back().kind != kind) {
    events_.push_back({kind, {}, {}});
  }
  events_.back().text += text;
}

void OutputParser::Language::emit_calls(std::vector<ToolCall> calls) {
  for (ToolCall& call : calls) {
    if (call.id.empty()) {
      call.id = next_id();
    }
    events_.push_back({OutputEvent::Kind::tool_call, {}, std::move(call)});
  }
}

std::string OutputParser::Language::next_id() {
  // SplitMix64 (Steele, Lea, Flood 2014).
  id_state_ += 0x9E3779B97F4A7C15ull;
  std::uint64_t bits = id_state_;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9ull;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBull;
  bits ^= bits >> 31;
  std::string id = "call_";
  for (int i = 0; i < 8; ++i) {
    id.push_back("abcdefghijklmnopqrstuvwxyz0123456789"[bits % 36]);
    bits /= 36;
  }
  return id;
}

std::size_t partial_mark(std::string_view text, std::string_view mark) {
  for (std::size_t n = std::min(text.size(), mark.empty() ? 0 : mark.size() - 1); n > 0; --n) {
    if (text.ends_with(mark.substr(0, n))) {
      return n;
    }
  }
  return 0;
}

std::string tool_call_json(const ToolCall& call) {
  // The arguments are put in as they are written, so that numbers keep their form.
  const auto quoted = [](const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  return "{\"id\":" + quoted(call.id) + ",\"name\":" + quoted(call.name) +
         ",\"arguments\":" + (call.arguments_json.empty() ? "{}" : call.arguments_json) + "}";
}

Result<ToolCall> parse_tool_call_json(std::string_view json) {
  const auto malformed = [] {
    return fail(ErrorCode::bad_value, "tool call", "is no object of id, name and arguments");
  };
  if (!json.starts_with('{') || json_end(json) != json.size()) {
    return malformed();
  }
  const auto object = nlohmann::ordered_json::parse(json, nullptr, false);
  if (!object.is_object() || !object.contains("id") || !object["id"].is_string() ||
      !object.contains("name") || !object["name"].is_string() || !object.contains("arguments") ||
      !object["arguments"].is_object()) {
    return malformed();
  }
  return ToolCall{object["id"], object["name"], object["arguments"].dump()};
}

}  // namespace lm
