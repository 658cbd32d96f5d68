#include "runtime/chat/go_template_words.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "runtime/tokenizer/utf8.h"

namespace lm::go_template {

namespace {

constexpr std::string_view kBlanks = " \t\r\n";

/// Behind the end of the action that begins at `at`: strings inside may hold braces.
std::size_t action_end(std::string_view source, std::size_t at) {
  if (source.substr(at).starts_with("/*")) {
    const std::size_t close = source.find("*/", at);
    return close == std::string_view::npos ? close : source.find("}}", close);
  }
  char quote = '\0';
  for (; at < source.size(); ++at) {
    const char c = source[at];
    if (quote) {
      if (c == '\\' && quote == '"') {
        ++at;
      } else if (c == quote) {
        quote = '\0';
      }
    } else if (c == '"' || c == '`') {
      quote = c;
    } else if (source.substr(at).starts_with("}}")) {
      return at;
    }
  }
  return std::string_view::npos;
}

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

std::string take_name(std::string_view& rest) {
  std::size_t n = 0;
  while (n < rest.size() && is_name_byte(rest[n])) {
    ++n;
  }
  const std::string name(rest.substr(0, n));
  rest.remove_prefix(n);
  return name;
}

}  // namespace

std::unexpected<Error> refuse(ErrorCode code, std::uint32_t line, std::string problem) {
  return fail(code, "Go template", std::move(problem) + " at line " + std::to_string(line),
              "write the template in Jinja, as tokenizer.chat_template of GGUF files");
}

Result<std::vector<Piece>> cut_into_pieces(std::string_view source) {
  std::vector<Piece> pieces;
  std::uint32_t line = 1;
  std::size_t at = 0;
  bool trim_next = false;
  const auto add_text = [&](std::string_view text, bool trim_end) {
    const auto n_lines = static_cast<std::uint32_t>(std::ranges::count(text, '\n'));
    if (trim_next) {
      text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    }
    if (trim_end) {
      text = text.substr(0, text.find_last_not_of(kBlanks) + 1);
    }
    if (!text.empty()) {
      pieces.push_back({false, line, std::string(text)});
    }
    line += n_lines;
  };
  while (true) {
    const std::size_t open = source.find("{{", at);
    if (open == std::string_view::npos) {
      add_text(source.substr(at), false);
      return pieces;
    }
    std::size_t inside = open + 2;
    const bool trim = source.substr(inside).starts_with('-') && inside + 1 < source.size() &&
                      kBlanks.contains(source[inside + 1]);
    add_text(source.substr(at, open - at), trim);
    inside += trim ? 1 : 0;
    const std::size_t first = std::min(source.find_first_not_of(kBlanks, inside), source.size());
    const std::size_t end = action_end(source, first);
    if (end == std::string_view::npos) {
      return refuse(ErrorCode::bad_template, line, "an action is not closed; '}}' is missing");
    }
    std::string_view text = source.substr(first, end - first);
    trim_next = text.size() >= 2 && text.ends_with('-') && kBlanks.contains(text[text.size() - 2]);
    if (trim_next) {
      text.remove_suffix(1);
    }
    text = text.substr(0, text.find_last_not_of(kBlanks) + 1);
    if (!text.starts_with("/*")) {
      pieces.push_back({true, line, std::string(text)});
    }
    line += static_cast<std::uint32_t>(std::ranges::count(source.substr(open, end - open), '\n'));
    at = end + 2;
  }
}

Result<Words> Words::split(const Piece& piece) {
  Words words;
  words.line_ = piece.line;
  std::string_view rest = piece.text;
  while (true) {
    rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
    if (rest.empty()) {
      words.words_.emplace_back();
      return words;
    }
    LM_TRY(Word word, words.next(rest));
    words.words_.push_back(std::move(word));
  }
}

bool Words::skip_name(std::string_view name) {
  const bool there = current().kind == Word::Kind::name && current().text == name;
  at_ += there ? 1 : 0;
  return there;
}

bool Words::skip_symbol(std::string_view symbol) {
  const bool there = at_symbol(symbol);
  at_ += there ? 1 : 0;
  return there;
}

Result<Word> Words::next(std::string_view& rest) const {
  const char c = rest.front();
  if (c == '.' || c == '$') {
    Word word{c == '.' ? Word::Kind::field : Word::Kind::variable, "", {}};
    if (c == '$') {
      rest.remove_prefix(1);
      word.text = "$" + take_name(rest);
    }
    while (rest.starts_with('.')) {
      rest.remove_prefix(1);
      word.fields.push_back(take_name(rest));
    }
    return word;
  }
  if (c == '"') {
    return quoted_word(rest);
  }
  if (c == '`') {
    const std::size_t end = rest.find('`', 1);
    if (end == std::string_view::npos) {
      return refuse(ErrorCode::bad_template, line_, "a string is not closed");
    }
    Word word{Word::Kind::text, std::string(rest.substr(1, end - 1)), {}};
    rest.remove_prefix(end + 1);
    return word;
  }
  if ((c >= '0' && c <= '9') || (c == '-' && rest.size() > 1 && rest[1] >= '0' && rest[1] <= '9')) {
    const std::size_t end = std::min(rest.find_first_not_of("0123456789", 1), rest.size());
    Word word{Word::Kind::integer, std::string(rest.substr(0, end)), {}};
    rest.remove_prefix(end);
    return word;
  }
  if (is_name_byte(c)) {
    return Word{Word::Kind::name, take_name(rest), {}};
  }
  const std::size_t n = rest.starts_with(":=") ? 2 : 1;
  Word word{Word::Kind::symbol, std::string(rest.substr(0, n)), {}};
  rest.remove_prefix(n);
  return word;
}

Result<Word> Words::quoted_word(std::string_view& rest) const {
  Word word{Word::Kind::text, "", {}};
  for (std::size_t at = 1; at < rest.size(); ++at) {
    const char c = rest[at];
    if (c == '"') {
      rest.remove_prefix(at + 1);
      return word;
    }
    if (c != '\\') {
      word.text += c;
      continue;
    }
    constexpr std::string_view kFrom = "ntr\\\"'";
    constexpr std::string_view kTo = "\n\t\r\\\"'";
    const char escaped = at + 1 < rest.size() ? rest[at + 1] : '\0';
    if (const std::size_t which = kFrom.find(escaped); escaped && which != std::string_view::npos) {
      word.text += kTo[which];
      ++at;
      continue;
    }
    const std::size_t digits = escaped == 'x' ? 2 : (escaped == 'u' ? 4 : (escaped == 'U' ? 8 : 0));
    std::uint32_t value = 0;
    const std::string_view hex = rest.substr(std::min(at + 2, rest.size()), digits);
    const auto parsed = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
    if (digits == 0 || hex.size() != digits || parsed.ptr != hex.data() + digits ||
        value > 0x10FFFF) {
      return refuse(ErrorCode::bad_template, line_, "a string has an unknown escape");
    }
    if (digits == 2) {
      word.text += static_cast<char>(value);
    } else {
      utf8::append(word.text, value);
    }
    at += 1 + digits;
  }
  return refuse(ErrorCode::bad_template, line_, "a string is not closed");
}

}  // namespace lm::go_template
