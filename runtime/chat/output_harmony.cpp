// Reads answers of gpt-oss: messages "<|channel|>analysis<|message|>…<|end|>", each on a channel
// and some for a recipient (OpenAI's harmony dialect).
#include <algorithm>
#include <array>

#include "runtime/chat/output_language.h"

namespace lm {
namespace {

using Kind = OutputEvent::Kind;
constexpr auto npos = std::string_view::npos;
constexpr std::string_view kBlank = " \t\r\n";
constexpr std::string_view kMessage = "<|message|>";
/// What a header may begin with; anything else at its place is content.
constexpr std::string_view kHeaderStarts[] = {"<|channel|>", "<|start|>", kMessage,
                                              "to=", "<|constrain|>"};
/// What ends a message; the last two begin the next one.
constexpr std::string_view kEnds[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>",
                                      "<|channel|>"};
constexpr std::size_t kMaxHeaderBytes = 1024;

class HarmonyReader final : public OutputParser::Language {
 public:
  HarmonyReader(Dialect dialect, std::uint64_t id_seed) : Language(std::move(dialect), id_seed) {}

 private:
  void read(bool at_end) override {
    bool more = true;
    while (more && !held_.empty()) {
      more = in_header_ ? read_header(at_end) : read_body(at_end);
    }
    if (at_end && is_call_) {
      end_call();
    }
  }

  bool read_header(bool at_end) {
    const std::size_t first = held_.find_first_not_of(kBlank);
    if (first == npos && !at_end) {
      return false;
    }
    const std::string_view rest = std::string_view(held_).substr(std::min(first, held_.size()));
    const bool begins = std::ranges::any_of(
        kHeaderStarts, [rest](std::string_view start) { return rest.starts_with(start); });
    const bool may_begin = std::ranges::any_of(
        kHeaderStarts, [rest](std::string_view start) { return start.starts_with(rest); });
    const std::size_t message = held_.find(kMessage);
    if (begins && message != npos && message <= kMaxHeaderBytes) {
      start_message(held_.substr(0, message));
      drop(message + kMessage.size());
      return true;
    }
    if (!at_end && (begins || may_begin) && held_.size() <= kMaxHeaderBytes + kMessage.size()) {
      return false;
    }
    if (at_end && begins && is_bare_header(rest)) {
      held_.clear();  // cut off inside the marks of a message
      return false;
    }
    // No header: the model just talks. The marks themselves are not shown.
    start_message({});
    if (begins) {
      const auto* start = std::ranges::find_if(
          kHeaderStarts, [rest](std::string_view s) { return rest.starts_with(s); });
      if (start->starts_with('<')) {
        drop(first + start->size());
      }
    }
    return true;
  }

  /// Marks and the few words that stand between them, no text.
  static bool is_bare_header(std::string_view header) {
    constexpr std::size_t kMost = 64;
    return header.starts_with("<|") && header.size() <= kMost &&
           header.find_first_of("\n.!?,") == npos;
  }

  void start_message(std::string header) {
    in_header_ = false;
    header_ = std::move(header);
    recipient_.clear();
    is_call_ = false;
    kind_ = header_.contains("<|channel|>analysis") ? Kind::thinking : Kind::content;
    constexpr std::string_view kTo = "to=";
    if (const std::size_t to = header_.find(kTo); to != npos && tools_.any()) {
      const std::size_t begin = to + kTo.size();
      recipient_ = header_.substr(
          begin, std::min(header_.find_first_of(" <\t\n", begin), header_.size()) - begin);
      is_call_ = !recipient_.empty();
    }
  }

  bool read_body(bool at_end) {
    const std::string_view text = held_;
    std::size_t end = npos;
    std::string_view mark;
    std::size_t partial = 0;
    for (const std::string_view candidate : kEnds) {
      const std::size_t at = text.find(candidate);
      if (at < end) {
        end = at;
        mark = candidate;
      }
      partial = std::max(partial, partial_mark(text, candidate));
    }
    const std::size_t clear = end != npos ? end : text.size() - (at_end ? 0 : partial);
    if (is_call_) {
      arguments_ += text.substr(0, clear);
    } else {
      emit(kind_, text.substr(0, clear));
    }
    const bool begins_next = mark == "<|start|>" || mark == "<|channel|>";
    drop(clear + (begins_next ? 0 : mark.size()));
    if (end == npos) {
      return false;
    }
    if (is_call_) {
      end_call();
    }
    in_header_ = true;
    return true;
  }

  void end_call() {
    is_call_ = false;
    std::string_view name = recipient_;
    if (constexpr std::string_view kSpace = "functions."; name.starts_with(kSpace)) {
      name.remove_prefix(kSpace.size());
    }
    auto read = call_with_json(name, trimmed(arguments_));
    if (read && trimmed(read->rest).empty()) {
      emit_calls(std::move(read->calls));
    } else {
      emit(Kind::content, arguments_);
    }
    arguments_.clear();
  }

  bool in_header_ = true;
  std::string header_;
  std::string recipient_;
  bool is_call_ = false;
  std::string arguments_;
  Kind kind_ = Kind::content;
};

}  // namespace

std::unique_ptr<OutputParser::Language> make_harmony_reader(Dialect dialect,
                                                            std::uint64_t id_seed) {
  return std::make_unique<HarmonyReader>(std::move(dialect), id_seed);
}

}  // namespace lm
