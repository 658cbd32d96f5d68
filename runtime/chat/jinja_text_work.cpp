// What filters and methods of texts share. Each keeps the origin of every byte.
#include <algorithm>

#include "runtime/chat/jinja_functions.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

void append_case(TextBuilder& out, const Text& text, std::size_t at, utf8::Character character,
                 Case wanted) {
  const bool invalid = character.code_point == unicode::kReplacement && character.bytes == 1;
  if (invalid) {
    out.append(text, at, at + 1);
    return;
  }
  std::string bytes;
  for (const std::uint32_t unit : to_case(character.code_point, wanted)) {
    if (unit != 0 || character.code_point == 0) {
      utf8::append(bytes, unit);
    }
    if (character.code_point == 0) {
      break;
    }
  }
  out.append(bytes, text.origin_at(at));
}

bool is_one_of(const Text& characters, std::string_view character) {
  const std::string_view all = characters.view();
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t bytes = utf8::decode(all, at).bytes;
    if (all.substr(at, bytes) == character) {
      return true;
    }
    at += bytes;
  }
  return false;
}

}  // namespace

Eval<Value> substring(Budget& budget, const Text& text, std::size_t begin, std::size_t end) {
  TextBuilder out(budget);
  out.append(text, begin, end);
  out.set_markup(text.markup);
  return out.finish();
}

Eval<Value> strip(Budget& budget, const Text& text, const Text* characters, Strip side) {
  const std::string_view bytes = text.view();
  LM_CHECK(budget.step_bytes(bytes.size() * (characters ? characters->size() : 1)));
  const auto goes = [&](std::size_t at, const utf8::Character& character) {
    return characters ? is_one_of(*characters, bytes.substr(at, character.bytes))
                      : is_space(character.code_point);
  };
  std::size_t begin = 0;
  std::size_t end = bytes.size();
  while (side != Strip::right && begin < end) {
    const auto character = utf8::decode(bytes, begin);
    if (!goes(begin, character)) {
      break;
    }
    begin += character.bytes;
  }
  while (side != Strip::left && end > begin) {
    const auto character = utf8::decode_before(bytes, end);
    if (!goes(end - character.bytes, character)) {
      break;
    }
    end -= character.bytes;
  }
  return substring(budget, text, begin, end);
}

Eval<Value> change_case(Budget& budget, const Text& text, Case wanted) {
  LM_CHECK(budget.step_bytes(text.size() * 4));
  TextBuilder out(budget);
  out.set_markup(text.markup);
  if (text.ascii() && text.switches().empty() && wanted != Case::title) {
    std::string bytes(text.view());
    for (char& c : bytes) {
      c = static_cast<char>(to_case(static_cast<unsigned char>(c), wanted)[0]);
    }
    out.append(bytes, text.first_origin());
    return out.finish();
  }
  bool in_word = false;
  for (std::size_t at = 0; at < text.size() && !out.failed();) {
    const auto character = utf8::decode(text.view(), at);
    const Case now = wanted == Case::title && in_word ? Case::lower : wanted;
    append_case(out, text, at, character, now);
    const bool cased = is_upper(character.code_point) || is_lower(character.code_point) ||
                       is_title(character.code_point);
    in_word = cased;
    at += character.bytes;
  }
  return out.finish();
}

Eval<Value> capitalize(Budget& budget, const Text& text) {
  LM_CHECK(budget.step_bytes(text.size() * 4));
  TextBuilder out(budget);
  out.set_markup(text.markup);
  for (std::size_t at = 0; at < text.size() && !out.failed();) {
    const auto character = utf8::decode(text.view(), at);
    append_case(out, text, at, character, at == 0 ? Case::title : Case::lower);
    at += character.bytes;
  }
  return out.finish();
}

Eval<Value> replace(Budget& budget, const Text& text, const Text& from, const Text& to,
                    std::int64_t count) {
  LM_CHECK(budget.step_bytes(text.size()));
  const std::string_view bytes = text.view();
  TextBuilder out(budget);
  out.set_markup(text.markup);
  auto left = count < 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(count);
  std::size_t at = 0;
  if (from.empty()) {
    // Before every character and at the end.
    while (left > 0 && !out.failed()) {
      LM_CHECK(budget.step());
      out.append(to);
      --left;
      if (at >= bytes.size()) {
        break;
      }
      const std::size_t n = utf8::decode(bytes, at).bytes;
      out.append(text, at, at + n);
      at += n;
    }
    out.append(text, at, bytes.size());
    return out.finish();
  }
  while (left > 0 && !out.failed()) {
    const std::size_t found = bytes.find(from.view(), at);
    if (found == std::string_view::npos) {
      break;
    }
    LM_CHECK(budget.step());
    out.append(text, at, found);
    out.append(to);
    at = found + from.size();
    --left;
  }
  out.append(text, at, bytes.size());
  return out.finish();
}

Eval<Value> center(Budget& budget, const Text& text, std::int64_t width, const Text& fill) {
  const auto n = static_cast<std::int64_t>(text.n_chars());
  LM_CHECK(budget.step_bytes(text.size()));
  const std::int64_t room = std::max<std::int64_t>(width - n, 0);
  // CPython puts the odd one left when the width is odd.
  const std::int64_t left = room / 2 + (room & width & 1);
  TextBuilder out(budget);
  out.set_markup(text.markup);
  out.repeat(fill, static_cast<std::uint64_t>(left));
  out.append(text);
  out.repeat(fill, static_cast<std::uint64_t>(room - left));
  return out.finish();
}

std::vector<std::pair<std::size_t, std::size_t>> line_spans(std::string_view text, bool keep_ends) {
  std::vector<std::pair<std::size_t, std::size_t>> spans;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto [code_point, bytes] = utf8::decode(text, at);
    std::size_t next = at + bytes;
    const bool ends = (code_point >= 0x0A && code_point <= 0x0D) ||
                      (code_point >= 0x1C && code_point <= 0x1E) || code_point == 0x85 ||
                      code_point == 0x2028 || code_point == 0x2029;
    if (code_point == '\r' && next < text.size() && text[next] == '\n') {
      ++next;
    }
    if (ends) {
      spans.emplace_back(begin, keep_ends ? next : at);
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) {
    spans.emplace_back(begin, text.size());
  }
  return spans;
}

Eval<Value> escape_html(Budget& budget, const Text& text) {
  LM_CHECK(budget.step_bytes(text.size()));
  TextBuilder out(budget);
  out.set_markup(true);
  constexpr std::string_view kSpecial = "&<>\"'";
  constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
  std::size_t begin = 0;
  while (begin < text.size() && !out.failed()) {
    const std::size_t at = std::min(text.view().find_first_of(kSpecial, begin), text.size());
    out.append(text, begin, at);
    if (at < text.size()) {
      out.append(kEntities[kSpecial.find(text.view()[at])], text.origin_at(at));
    }
    begin = at + 1;
  }
  return out.finish();
}

}  // namespace lm::jinja
