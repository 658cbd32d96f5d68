// Filters on texts. They take any value: what is no text is printed first.
#include <algorithm>
#include <array>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_print.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

template <Case kWanted>
Eval<Value> to_case_filter(Call& call) {
  LM_TRY(const Value text, to_text(call.budget, call.self));
  return change_case(call.budget, text.text(), kWanted);
}

Eval<Value> capitalize_filter(Call& call) {
  LM_TRY(const Value text, to_text(call.budget, call.self));
  return capitalize(call.budget, text.text());
}

/// Unlike str.title, a word begins only behind white space or one of -({[<.
Eval<Value> title_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  const Text& text = value.text();
  LM_CHECK(call.budget.step_bytes(text.size() * 4));
  TextBuilder out(call.budget);
  const auto separates = [](char32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t end = begin;
    while (end < text.size()) {
      const auto character = utf8::decode(text.view(), end);
      if (separates(character.code_point)) {
        break;
      }
      end += character.bytes;
    }
    const std::size_t first = begin < end ? begin + utf8::decode(text.view(), begin).bytes : begin;
    LM_TRY(const Value head, substring(call.budget, text, begin, first));
    LM_TRY(const Value tail, substring(call.budget, text, first, end));
    LM_TRY(const Value upper, change_case(call.budget, head.text(), Case::upper));
    LM_TRY(const Value lower, change_case(call.budget, tail.text(), Case::lower));
    out.append(upper.text());
    out.append(lower.text());
    const std::size_t next = end < text.size() ? end + utf8::decode(text.view(), end).bytes : end;
    out.append(text, end, next);
    begin = next;
  }
  return out.finish();
}

Eval<Value> trim_filter(Call& call) {
  LM_TRY(const Value text, to_text(call.budget, call.self));
  LM_TRY(const Text* characters, call.text(0));
  return strip(call.budget, text.text(), characters, Strip::both);
}

Eval<Value> string_filter(Call& call) {
  return to_text(call.budget, call.self);
}

Eval<Value> replace_filter(Call& call) {
  LM_TRY(const Value text, to_text(call.budget, call.self));
  LM_TRY(const Value from, to_text(call.budget, call.at(0)));
  LM_TRY(const Value to, to_text(call.budget, call.at(1)));
  LM_TRY(const std::int64_t count, call.is_none(2) ? Eval<std::int64_t>(-1) : call.integer(2, -1));
  return replace(call.budget, text.text(), from.text(), to.text(), count);
}

Eval<Value> format_filter(Call& call) {
  LM_TRY(const Value text, to_text(call.budget, call.self));
  if (!call.rest.named.empty()) {
    if (!call.rest.positional.empty()) {
      return call.fail("positional and named arguments can't be mixed");
    }
    LM_TRY(const Ref<MapObject> map, make_map(call.budget));
    for (auto& [name, value] : call.rest.named) {
      LM_TRY(const Value key, make_text(call.budget, name));
      LM_CHECK(map->set(key, std::move(value)));
    }
    return format_percent(call.interpreter, text.text(), to_value(map));
  }
  LM_TRY(const Ref<ListObject> values, make_list(call.budget, ListObject::Flavour::tuple));
  for (Value& value : call.rest.positional) {
    LM_CHECK(values->push(std::move(value)));
  }
  return format_percent(call.interpreter, text.text(), to_value(values));
}

Eval<Value> center_filter(Call& call) {
  LM_TRY(const Value text, to_text(call.budget, call.self));
  LM_TRY(const std::int64_t width, call.integer(0, 80));
  return center(call.budget, text.text(), width, Text(" ", text.text().origin_at(0)));
}

/// The blanks take the origin of the line they stand before: text of a message stays in one piece.
Eval<Value> indent_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  const Text& text = value.text();
  Text unit;
  if (call.has(0) && call.at(0).is(Kind::text)) {
    unit = call.at(0).text();
  } else {
    LM_TRY(const std::int64_t width, call.integer(0, 4));
    TextBuilder blanks(call.budget);
    blanks.repeat(' ', static_cast<std::uint64_t>(std::max<std::int64_t>(width, 0)),
                  Origin::literal);
    LM_TRY(unit, blanks.take());
  }
  const bool first = call.flag(1, false);
  const bool blank_too = call.flag(2, false);
  LM_CHECK(call.budget.step_bytes(text.size()));
  LM_CHECK(call.budget.charge(text.size() + 1));  // for the copy
  call.budget.give_back(text.size() + 1);
  TextBuilder out(call.budget);
  const auto put = [&](std::string_view bytes, std::size_t at) {
    out.append(bytes, text.empty() ? unit.first_origin() : text.origin_at(at));
  };
  // With a line end behind it: a last line that is empty counts as one.
  const auto lines = line_spans(std::string(text.view()) + '\n');
  for (std::size_t i = 0; i < lines.size() && !out.failed(); ++i) {
    const auto [begin, end] = lines[i];
    LM_CHECK(call.budget.step());
    if (i > 0) {
      put("\n", begin - 1);
    }
    if (i == 0 ? first : blank_too || end > begin) {
      put(unit.view(), begin);
    }
    out.append(text, begin, end);
  }
  return out.finish();
}

Eval<Value> truncate_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  const Text& text = value.text();
  LM_TRY(const std::int64_t length, call.integer(0, 255));
  const bool kill_words = call.flag(1, false);
  LM_TRY(const Value end,
         call.has(2) ? to_text(call.budget, call.at(2)) : make_text(call.budget, "..."));
  LM_TRY(const std::int64_t leeway, call.is_none(3) ? Eval<std::int64_t>(5) : call.integer(3, 5));
  const auto n_end = static_cast<std::int64_t>(end.text().n_chars());
  if (length < n_end || leeway < 0) {
    return call.fail(
        "the length must be at least that of the end mark, and the leeway not negative");
  }
  LM_CHECK(call.budget.step_bytes(text.size()));
  const auto n = static_cast<std::int64_t>(text.n_chars());
  if (n <= length || n - length <= leeway) {
    return value;
  }
  std::size_t stop = text.offset_of(static_cast<std::size_t>(length - n_end));
  if (!kill_words) {
    const std::size_t blank = text.view().substr(0, stop).rfind(' ');
    stop = blank == std::string_view::npos ? stop : blank;
  }
  TextBuilder out(call.budget);
  out.append(text, 0, stop);
  out.append(end.text());
  return out.finish();
}

Eval<Value> wordcount_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  LM_CHECK(call.budget.step_bytes(value.text().size()));
  std::int64_t n = 0;
  bool in_word = false;
  const std::string_view text = value.view();
  for (std::size_t at = 0; at < text.size();) {
    const auto character = utf8::decode(text, at);
    const bool part = character.code_point == '_' || is_alpha(character.code_point) ||
                      is_numeric(character.code_point);
    n += part && !in_word ? 1 : 0;
    in_word = part;
    at += character.bytes;
  }
  return Value::integer(n);
}

Eval<Value> safe_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  TextBuilder out(call.budget);
  out.append(value.text());
  out.set_markup(true);
  return out.finish();
}

Eval<Value> force_escape_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  return escape_html(call.budget, value.text());
}

Eval<Value> escape_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  return value.text().markup ? value : escape_html(call.budget, value.text());
}

Eval<Value> striptags_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  const Text& text = value.text();
  LM_CHECK(call.budget.step_bytes(text.size()));
  TextBuilder bare(call.budget);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = std::min(text.view().find('<', at), text.size());
    bare.append(text, at, open);
    const std::size_t close = text.view().find('>', open);
    if (open < text.size() && close == std::string_view::npos) {
      bare.append(text, open, text.size());
      break;
    }
    at = open < text.size() ? close + 1 : open;
  }
  LM_TRY(const Text stripped, bare.take());
  TextBuilder out(call.budget);
  bool blank = false;
  for (std::size_t at = 0; at < stripped.size();) {  // runs of white space become one blank
    const auto character = utf8::decode(stripped.view(), at);
    if (is_space(character.code_point)) {
      blank = true;
    } else {
      if (std::exchange(blank, false) && out.size() > 0) {
        out.append(" ", stripped.origin_at(at));
      }
      out.append(stripped, at, at + character.bytes);
    }
    at += character.bytes;
  }
  return out.finish();
}

Eval<Value> urlencode_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  const Text& text = value.text();
  LM_CHECK(call.budget.step_bytes(text.size() * 4));
  TextBuilder out(call.budget);
  constexpr std::string_view kKept = "-_.~/";
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (std::size_t at = 0; at < text.size() && !out.failed(); ++at) {
    const auto byte = static_cast<unsigned char>(text.view()[at]);
    const bool kept = byte < 0x80 && (is_alpha(byte) || is_decimal(byte) ||
                                      kKept.contains(static_cast<char>(byte)));
    const std::array<char, 3> coded = {'%', kHex[byte >> 4], kHex[byte & 15]};
    out.append(kept ? text.view().substr(at, 1) : std::string_view(coded.data(), 3),
               text.origin_at(at));
  }
  return out.finish();
}

Eval<Value> tojson_filter(Call& call) {
  JsonStyle style;
  style.ensure_ascii = call.flag(0, false);
  if (!call.is_none(1)) {
    style.pretty = true;
    style.item_separator = ",";
    if (call.at(1).is(Kind::text)) {
      style.indent = call.at(1).view();
    } else {
      LM_TRY(const std::int64_t width, call.integer(1, 0));
      const auto n = static_cast<std::uint64_t>(std::max<std::int64_t>(width, 0));
      LM_CHECK(call.budget.charge(n));
      style.indent.assign(n, ' ');
      call.budget.give_back(n);
    }
  }
  if (!call.is_none(2)) {
    LM_TRY(const std::vector<Value> separators, call.interpreter.elements(call.at(2)));
    if (separators.size() != 2 || !separators[0].is(Kind::text) || !separators[1].is(Kind::text)) {
      return call.fail("separators must be two strings");
    }
    style.item_separator = separators[0].view();
    style.key_separator = separators[1].view();
  }
  style.sort_keys = call.flag(3, false);
  return dump_json(call.budget, call.self, style);
}

/// The inverse of tojson, which some templates ask for: tool arguments that came as text.
Eval<Value> from_json_filter(Call& call) {
  LM_TRY(const Value value, to_text(call.budget, call.self));
  LM_CHECK(call.budget.step_bytes(value.text().size()));
  return read_json(call.budget, value.view(),
                   value.text().has_data() ? Origin::data : Origin::literal);
}

constexpr Function kRows[] = {
    {"capitalize", "", 0, false, capitalize_filter},
    {"center", "width", 0, false, center_filter},
    {"e", "", 0, false, escape_filter},
    {"escape", "", 0, false, escape_filter},
    {"forceescape", "", 0, false, force_escape_filter},
    {"format", "", 0, true, format_filter},
    {"from_json", "", 0, false, from_json_filter},
    {"indent", "width first blank", 0, false, indent_filter},
    {"lower", "", 0, false, to_case_filter<Case::lower>},
    {"replace", "old new count", 2, false, replace_filter},
    {"safe", "", 0, false, safe_filter},
    {"string", "", 0, false, string_filter},
    {"striptags", "", 0, false, striptags_filter},
    {"title", "", 0, false, title_filter},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, false, tojson_filter},
    {"trim", "chars", 0, false, trim_filter},
    {"truncate", "length killwords end leeway", 0, false, truncate_filter},
    {"upper", "", 0, false, to_case_filter<Case::upper>},
    {"urlencode", "", 0, false, urlencode_filter},
    {"wordcount", "", 0, false, wordcount_filter},
};

}  // namespace

std::span<const Function> text_filters() {
  return kRows;
}

}  // namespace lm::jinja
