// Reads answers in which marks set thinking and tool calls apart from content.
#include <algorithm>
#include <array>
#include <optional>

#include "runtime/chat/json_scanner.h"
#include "runtime/chat/output_language.h"

namespace lm {
namespace {

using Kind = OutputEvent::Kind;
constexpr auto npos = std::string_view::npos;
constexpr std::string_view kBlank = " \t\r\n";

/// Keys with which the object of a bare call may begin.
constexpr std::string_view kFirstKeys[] = {"name",       "type",      "function", "tool_name",
                                           "parameters", "arguments", "id",       "tool_call_id"};

enum class Verdict : std::uint8_t { no, maybe, yes };

class MarksReader final : public OutputParser::Language {
 public:
  MarksReader(Dialect dialect, std::uint64_t id_seed)
      : Language(std::move(dialect), id_seed), marks_(family_marks(dialect_.family)) {
    if (dialect_.starts_in_thinking && !dialect_.think_close.empty()) {
      section_ = Section::thinking;
      after_mark_ = true;
    }
    if (!tools_.any()) {
      marks_.regions = {};
      marks_.bare_calls = false;
    }
    is_plain_ = dialect_.think_close.empty() && marks_.regions.empty() && marks_.ignored.empty();
  }

 private:
  enum class Section : std::uint8_t { content, thinking, call, bare_call };

  void read(bool at_end) override {
    bool more = true;
    while (more && !held_.empty()) {
      switch (section_) {
        case Section::content:
          more = read_content(at_end);
          break;
        case Section::thinking:
          more = read_thinking(at_end);
          break;
        case Section::call:
          more = read_call(at_end);
          break;
        case Section::bare_call:
          more = read_bare_call(at_end);
          break;
      }
    }
    if (at_end && section_ == Section::call) {  // nothing came behind the opening mark
      emit(Kind::content, region_->open);
      section_ = Section::content;
    }
  }

  /// Leaves a mark: white space behind it belongs to it, and a new beginning is made.
  void to_content() {
    section_ = Section::content;
    after_mark_ = true;
    at_start_ = true;
  }

  void emit_content(std::string_view text) {
    if (text.find_first_not_of(kBlank) != npos) {
      at_start_ = false;
    }
    after_mark_ = false;
    emit(Kind::content, text);
  }

  bool read_content(bool at_end) {
    if (is_plain_) {
      emit(Kind::content, held_);
      held_.clear();
      return false;
    }
    const std::size_t first = held_.find_first_not_of(kBlank);
    if (first == npos && !at_end && (at_start_ || after_mark_)) {
      return false;  // what comes decides whether it is content
    }
    if (after_mark_) {
      drop(std::min(first, held_.size()));
      if (held_.empty()) {
        return false;
      }
      // Llama writes several calls with semicolons between them.
      if (after_bare_ && held_[0] == ';') {
        after_bare_ = false;
        drop(1);
        return true;
      }
      after_bare_ = false;
    }
    const std::string_view text = held_;
    if (at_start_ && text.find_first_not_of(kBlank) != npos) {
      const std::size_t begin = text.find_first_not_of(kBlank);
      const std::string_view rest = text.substr(begin);
      const std::string_view open = dialect_.think_open;
      if (!open.empty() && rest.starts_with(open)) {
        drop(begin + open.size());
        section_ = Section::thinking;
        after_mark_ = true;
        return true;
      }
      const Verdict bare = marks_.bare_calls ? judge_bare(rest) : Verdict::no;
      if (bare == Verdict::yes) {
        blanks_ = held_.substr(0, begin);
        drop(begin);
        start_call(Section::bare_call);
        return true;
      }
      if (!at_end && (bare == Verdict::maybe || (!open.empty() && open.starts_with(rest)))) {
        return false;
      }
    }
    return take_until_mark(at_end);
  }

  /// Emits content up to the first mark and enters what it opens.
  bool take_until_mark(bool at_end) {
    const std::string_view text = held_;
    std::size_t at = npos;
    std::size_t bytes = 0;
    const CallRegion* region = nullptr;
    std::size_t partial = 0;
    const auto consider = [&](std::string_view mark, const CallRegion* opened) {
      const std::size_t found = text.find(mark);
      if (found != npos && (found < at || (found == at && mark.size() > bytes))) {
        at = found;
        bytes = mark.size();
        region = opened;
      }
      partial = std::max(partial, partial_mark(text, mark));
    };
    for (const CallRegion& r : marks_.regions) {
      consider(r.open, &r);
    }
    for (const std::string_view mark : marks_.ignored) {
      consider(mark, nullptr);
    }
    if (at == npos) {
      const std::size_t clear = text.size() - (at_end ? 0 : partial);
      if (!at_end && at_start_ && text.substr(0, clear).find_first_not_of(kBlank) == npos) {
        return false;  // white space in front of a mark would belong to it
      }
      emit_content(text.substr(0, clear));
      drop(clear);
      return false;
    }
    if (!at_start_ || text.substr(0, at).find_first_not_of(kBlank) != npos) {
      emit_content(text.substr(0, at));
    }
    drop(at + bytes);
    if (region != nullptr) {
      region_ = region;
      start_call(Section::call);
    } else {
      after_mark_ = true;
    }
    return true;
  }

  bool read_thinking(bool at_end) {
    if (after_mark_) {
      drop(std::min(held_.find_first_not_of(kBlank), held_.size()));
      if (held_.empty()) {
        return false;
      }
    }
    const std::string_view text = held_;
    const std::size_t close = text.find(dialect_.think_close);
    const std::size_t clear =
        close != npos ? close
                      : text.size() - (at_end ? 0 : partial_mark(text, dialect_.think_close));
    after_mark_ = after_mark_ && clear == 0;
    emit(Kind::thinking, text.substr(0, clear));
    if (close == npos) {
      drop(clear);
      return false;
    }
    drop(close + dialect_.think_close.size());
    to_content();
    return true;
  }

  void start_call(Section section) {
    section_ = section;
    scanned_ = 0;
    scanner_ = {};
    is_json_.reset();
    json_done_ = false;
  }

  /// Where the body ends and where the text goes on behind it, as far as that can be told. A
  /// closing mark inside a JSON string is text.
  std::optional<std::pair<std::size_t, std::size_t>> body_end() {
    const std::string_view text = held_;
    const std::string_view close = region_->close.empty() ? region_->open : region_->close;
    const std::size_t skip = region_->close.empty() ? 0 : close.size();
    if (!is_json_) {
      const std::size_t first = text.find_first_not_of(kBlank);
      if (first == npos) {
        return std::nullopt;
      }
      is_json_ = text[first] == '{' || text[first] == '[';
      scanned_ = first;
    }
    while (*is_json_ && !json_done_ && scanned_ < text.size()) {
      const std::string_view rest = text.substr(scanned_);
      if (!scanner_.in_string() && rest.starts_with(close)) {
        return std::pair(scanned_, scanned_ + skip);
      }
      if (!scanner_.in_string() && close.starts_with(rest)) {
        return std::nullopt;  // may become the mark
      }
      json_done_ = scanner_.take(text[scanned_]) != JsonScanner::State::open;
      ++scanned_;
    }
    if (*is_json_ && !json_done_) {
      return std::nullopt;
    }
    const std::size_t at = text.find(close, scanned_);
    if (at == npos) {
      const std::size_t keep = std::min(text.size(), close.size() - 1);
      scanned_ = std::max(scanned_, text.size() - keep);
      return std::nullopt;
    }
    return std::pair(at, at + skip);
  }

  bool read_call(bool at_end) {
    auto end = body_end();
    if (region_->syntax == CallSyntax::json && is_json_ == false) {
      section_ = Section::content;
      emit_content(region_->open);
      return true;
    }
    const bool closed = end.has_value();
    if (!closed && !at_end) {
      return false;
    }
    if (!closed) {
      // A string that was never closed hides the mark: then the first one counts.
      const std::size_t at = region_->close.empty() ? npos : held_.find(region_->close);
      end = at == npos ? std::pair(held_.size(), held_.size())
                       : std::pair(at, at + region_->close.size());
    }
    const std::string body = held_.substr(0, end->first);
    auto read = read_calls(region_->syntax, body, tools_);
    if (!read) {
      // No call after all: the mark is text, and what follows it may hold others.
      section_ = Section::content;
      emit_content(region_->open);
      if (!closed && end->second == held_.size()) {
        emit_content(held_);
        held_.clear();
      }
      return true;
    }
    emit_calls(std::move(read->calls));
    const std::string rest(trimmed(read->rest));
    drop(end->second);
    to_content();
    if (!rest.empty()) {
      emit_content(rest);
    }
    return true;
  }

  bool read_bare_call(bool at_end) {
    const std::string_view text = held_;
    while (!json_done_ && scanned_ < text.size()) {
      json_done_ = scanner_.take(text[scanned_]) != JsonScanner::State::open;
      ++scanned_;
    }
    if (!json_done_ && !at_end) {
      return false;
    }
    const std::string_view body = text.substr(0, scanned_);
    auto read = text[0] == '[' && body.find_first_not_of(kBlank, 1) != npos &&
                        body[body.find_first_not_of(kBlank, 1)] != '{'
                    ? read_python_calls(body)
                    : read_json_calls(body);
    const bool known = read && trimmed(read->rest).empty() &&
                       std::ranges::all_of(read->calls, [this](const ToolCall& call) {
                         return tools_.knows(call.name) &&
                                (tools_.names(call.name) || call.arguments_json != "{}");
                       });
    section_ = Section::content;
    if (!known) {
      emit_content(blanks_);
      emit_content(body);
      at_start_ = false;
      drop(body.size());
      return true;
    }
    emit_calls(std::move(read->calls));
    drop(body.size());
    to_content();
    after_bare_ = true;
    return true;
  }

  /// Whether an answer that begins so can be a call.
  Verdict judge_bare(std::string_view text) const {
    const bool is_list = text[0] == '[';
    if (!is_list && text[0] != '{') {
      return Verdict::no;
    }
    std::size_t at = text.find_first_not_of(kBlank, 1);
    if (at == npos) {
      return Verdict::maybe;
    }
    if (is_list && text[at] != '{') {
      const std::size_t end = text.find_first_of("( \t\r\n[]{}\",", at);
      const std::string_view name = text.substr(at, end == npos ? npos : end - at);
      if (end == npos) {
        return tools_.begins_name(name) ? Verdict::maybe : Verdict::no;
      }
      return text[end] == '(' && tools_.names(name) ? Verdict::yes : Verdict::no;
    }
    if (is_list) {
      at = text.find_first_not_of(kBlank, at + 1);
      if (at == npos) {
        return Verdict::maybe;
      }
    }
    if (text[at] != '"') {
      return Verdict::no;
    }
    const std::string_view key = text.substr(at + 1);
    for (const std::string_view known : kFirstKeys) {
      if (key.starts_with(known) && key.substr(known.size()).starts_with('"')) {
        return Verdict::yes;
      }
      if (known.starts_with(key)) {
        return Verdict::maybe;
      }
    }
    return Verdict::no;
  }

  FamilyMarks marks_;
  bool is_plain_;  ///< nothing is looked for, so nothing is held back
  Section section_ = Section::content;
  bool after_mark_ = false;  ///< white space at the front of what is held belongs to a mark
  bool after_bare_ = false;  ///< the mark was a call without marks: a semicolon may follow
  bool at_start_ = true;     ///< nothing was said yet since the beginning or the last mark
  const CallRegion* region_ = nullptr;
  std::string blanks_;  ///< in front of a bare call
  // How far the body of a call is known.
  std::size_t scanned_ = 0;
  JsonScanner scanner_;
  std::optional<bool> is_json_;
  bool json_done_ = false;
};

}  // namespace

std::unique_ptr<OutputParser::Language> make_marks_reader(Dialect dialect, std::uint64_t id_seed) {
  return std::make_unique<MarksReader>(std::move(dialect), id_seed);
}

}  // namespace lm
