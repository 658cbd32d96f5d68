#include "runtime/grammar/pattern_classes.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "runtime/tokenizer/utf8.h"

namespace lm::grammar {
namespace {

using tokenizer::CodeSet;

std::unexpected<Error> bad(std::string problem, ErrorCode code = ErrorCode::bad_value) {
  return fail(code, "pattern", std::move(problem));
}

CodeSet digits() {
  return CodeSet::range(U'0', U'9');
}

CodeSet words() {
  CodeSet set = digits();
  set.add(CodeSet::range(U'a', U'z'));
  set.add(CodeSet::range(U'A', U'Z'));
  set.add(CodeSet::single(U'_'));
  return set;
}

/// ECMA-262's white space and line ends.
CodeSet spaces() {
  CodeSet set = *CodeSet::property("Zs");
  set.add(CodeSet::range(0x09, 0x0D));
  set.add(CodeSet::range(0x2028, 0x2029));
  set.add(CodeSet::single(0xFEFF));
  return set;
}

CodeSet inverted(CodeSet set) {
  set.invert();
  return set;
}

// Long names of general categories (UAX 44, PropertyValueAliases).
constexpr std::array<std::pair<std::string_view, std::string_view>, 37> kCategories = {{
    {"Letter", "L"},
    {"Uppercase_Letter", "Lu"},
    {"Lowercase_Letter", "Ll"},
    {"Titlecase_Letter", "Lt"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Mark", "M"},
    {"Nonspacing_Mark", "Mn"},
    {"Spacing_Mark", "Mc"},
    {"Enclosing_Mark", "Me"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"Letter_Number", "Nl"},
    {"Other_Number", "No"},
    {"Punctuation", "P"},
    {"Connector_Punctuation", "Pc"},
    {"Dash_Punctuation", "Pd"},
    {"Open_Punctuation", "Ps"},
    {"Close_Punctuation", "Pe"},
    {"Initial_Punctuation", "Pi"},
    {"Final_Punctuation", "Pf"},
    {"Other_Punctuation", "Po"},
    {"Symbol", "S"},
    {"Math_Symbol", "Sm"},
    {"Currency_Symbol", "Sc"},
    {"Modifier_Symbol", "Sk"},
    {"Other_Symbol", "So"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Line_Separator", "Zl"},
    {"Paragraph_Separator", "Zp"},
    {"Other", "C"},
    {"Control", "Cc"},
    {"Format", "Cf"},
    {"Unassigned", "Cn"},
    {"digit", "Nd"},
    {"punct", "P"},
}};

std::optional<CodeSet> named(std::string_view name) {
  for (const std::string_view prefix : {"General_Category=", "gc="}) {
    if (name.starts_with(prefix)) {
      name.remove_prefix(prefix.size());
    }
  }
  for (const std::string_view prefix : {"Script=", "sc="}) {
    if (name.starts_with(prefix) && name.substr(prefix.size()) == "Han") {
      return CodeSet::property("Han");
    }
  }
  if (name == "ASCII") {
    return CodeSet::range(0, 0x7F);
  }
  if (name == "Any") {
    return CodeSet::range(0, 0x10FFFF);
  }
  for (const auto& [full, code] : kCategories) {
    if (name == full) {
      name = code;
      break;
    }
  }
  if (name == "Han" || name.size() > 2) {
    return std::nullopt;
  }
  return CodeSet::property(name);
}

}  // namespace

bool ClassReader::take(char wanted) {
  if (at_ < text_.size() && text_[at_] == wanted) {
    ++at_;
    return true;
  }
  return false;
}

char32_t ClassReader::character() {
  const utf8::Character c = utf8::decode(text_, at_);
  at_ += c.bytes;
  return c.code_point;
}

Result<char32_t> ClassReader::hex(std::size_t n) {
  char32_t value = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const char c = at_ < text_.size() ? text_[at_] : ' ';
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) {
      return bad("has an escape without its hexadecimal digits");
    }
    value = value * 16 + static_cast<char32_t>(digit);
    ++at_;
  }
  return value;
}

Result<CodeSet> ClassReader::single() {
  if (take('\\')) {
    return escape(false);
  }
  return CodeSet::single(character());
}

Result<CodeSet> ClassReader::property(bool invert) {
  const std::size_t end = text_.find('}', at_);
  if (!take('{') || end == std::string_view::npos) {
    return bad("has a property escape without a name");
  }
  const std::string_view name = text_.substr(at_, end - at_);
  at_ = end + 1;
  std::optional<CodeSet> set = named(name);
  if (!set) {
    return bad(fmt::format("names the property '{}', which lm does not know", name),
               ErrorCode::unsupported);
  }
  return invert ? inverted(std::move(*set)) : std::move(*set);
}

Result<CodeSet> ClassReader::escape(bool in_bracket) {
  if (at_ >= text_.size()) {
    return bad("ends with a backslash");
  }
  const char32_t c = character();
  switch (c) {
    case U'd':
      return digits();
    case U'D':
      return inverted(digits());
    case U'w':
      return words();
    case U'W':
      return inverted(words());
    case U's':
      return spaces();
    case U'S':
      return inverted(spaces());
    case U't':
      return CodeSet::single(U'\t');
    case U'n':
      return CodeSet::single(U'\n');
    case U'v':
      return CodeSet::single(0x0B);
    case U'f':
      return CodeSet::single(0x0C);
    case U'r':
      return CodeSet::single(U'\r');
    case U'p':
      return property(false);
    case U'P':
      return property(true);
    case U'b':
      if (in_bracket) {
        return CodeSet::single(0x08);
      }
      return bad("has a word boundary", ErrorCode::unsupported);
    case U'B':
      return bad("has a word boundary", ErrorCode::unsupported);
    case U'k':
      return bad("has a back-reference", ErrorCode::unsupported);
    case U'c': {
      const char letter = at_ < text_.size() ? text_[at_] : ' ';
      if ((letter < 'a' || letter > 'z') && (letter < 'A' || letter > 'Z')) {
        return bad("has a control escape without a letter");
      }
      ++at_;
      return CodeSet::single(static_cast<char32_t>(letter) & 0x1F);
    }
    case U'x': {
      LM_TRY(const char32_t value, hex(2));
      return CodeSet::single(value);
    }
    case U'u': {
      if (take('{')) {
        const std::size_t end = std::min(text_.find('}', at_), text_.size());
        LM_TRY(const char32_t value, hex(std::min<std::size_t>(end - at_, 7)));
        if (!take('}') || value > 0x10FFFF) {
          return bad("has a code point escape that is no code point");
        }
        return CodeSet::single(value);
      }
      LM_TRY(char32_t value, hex(4));
      if (value >= 0xD800 && value < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
        at_ += 2;
        LM_TRY(const char32_t low, hex(4));
        value = 0x10000 + ((value - 0xD800) << 10) + ((low - 0xDC00) & 0x3FF);
      }
      return CodeSet::single(value);
    }
    default:
      if (c == U'0' && (at_ >= text_.size() || text_[at_] < '0' || text_[at_] > '9')) {
        return CodeSet::single(0);
      }
      if (c >= U'0' && c <= U'9') {
        return bad("has a back-reference", ErrorCode::unsupported);
      }
      return CodeSet::single(c);
  }
}

Result<CodeSet> ClassReader::bracket() {
  const bool invert = take('^');
  CodeSet out;
  const auto one = [&](bool& is_single, char32_t& code) -> Result<CodeSet> {
    if (take('\\')) {
      LM_TRY(CodeSet set, escape(true));
      is_single = set.ranges().size() == 1 && set.ranges()[0].end == set.ranges()[0].first + 1;
      code = set.ranges().empty() ? 0 : set.ranges()[0].first;
      return set;
    }
    code = character();
    is_single = true;
    return CodeSet::single(code);
  };
  while (true) {
    if (at_ >= text_.size()) {
      return bad("has a '[' without ']'");
    }
    if (take(']')) {
      break;
    }
    bool first_single = false, last_single = false;
    char32_t first = 0, last = 0;
    LM_TRY(const CodeSet low, one(first_single, first));
    if (first_single && at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
      ++at_;
      LM_TRY(const CodeSet high, one(last_single, last));
      if (!last_single) {
        out.add(low);
        out.add(CodeSet::single(U'-'));
        out.add(high);
        continue;
      }
      if (last < first) {
        return bad("has a range whose end is below its beginning");
      }
      out.add(CodeSet::range(first, last));
      continue;
    }
    out.add(low);
  }
  if (invert) {
    out.invert();
  }
  return out;
}

}  // namespace lm::grammar
