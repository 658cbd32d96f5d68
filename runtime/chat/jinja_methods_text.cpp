// Methods of str that make new texts or lists of texts.
#include <algorithm>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_print.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

constexpr std::size_t kNone = std::string_view::npos;

const Text& self_text(const Call& call) {
  return call.self.text();
}

template <Strip kSide>
Eval<Value> strip_method(Call& call) {
  LM_TRY(const Text* characters, call.text(0));
  return strip(call.budget, self_text(call), characters, kSide);
}

template <Case kWanted>
Eval<Value> case_method(Call& call) {
  return change_case(call.budget, self_text(call), kWanted);
}

Eval<Value> capitalize_method(Call& call) {
  return capitalize(call.budget, self_text(call));
}

Eval<Value> swapcase_method(Call& call) {
  const Text& text = self_text(call);
  LM_CHECK(call.budget.step_bytes(text.size() * 4));
  TextBuilder out(call.budget);
  for (std::size_t at = 0; at < text.size() && !out.failed();) {
    const auto character = utf8::decode(text.view(), at);
    LM_TRY(const Value one, substring(call.budget, text, at, at + character.bytes));
    LM_TRY(const Value swapped,
           change_case(call.budget, one.text(),
                       is_upper(character.code_point) ? Case::lower : Case::upper));
    out.append(swapped.text());
    at += character.bytes;
  }
  return out.finish();
}

Eval<Value> replace_method(Call& call) {
  LM_TRY(const Text* from, call.text(0));
  LM_TRY(const Text* to, call.text(1));
  if (!from || !to) {
    return call.fail("two strings are expected");
  }
  LM_TRY(const std::int64_t count, call.integer(2, -1));
  return replace(call.budget, self_text(call), *from, *to, count);
}

/// Collects pieces of one text.
class Pieces {
 public:
  static Eval<Pieces> make(Call& call, ListObject::Flavour flavour = ListObject::Flavour::list) {
    LM_TRY(Ref<ListObject> list, make_list(call.budget, flavour));
    return Pieces(call, std::move(list));
  }
  Eval<void> add(std::size_t begin, std::size_t end) {
    LM_CHECK(call_->budget.step());
    LM_TRY(Value piece, substring(call_->budget, self_text(*call_), begin, end));
    return list_->push(std::move(piece));
  }
  void reverse() { std::ranges::reverse(list_->items); }
  Value value() const { return to_value(list_); }

 private:
  Pieces(Call& call, Ref<ListObject> list) : call_(&call), list_(std::move(list)) {}
  Call* call_;
  Ref<ListObject> list_;
};

/// Ends of the white space that begins at `at`.
std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const auto character = utf8::decode(text, at);
    if (!is_space(character.code_point)) {
      break;
    }
    at += character.bytes;
  }
  return at;
}

Eval<Value> split_at_space(Call& call, std::uint64_t most) {
  const std::string_view text = self_text(call).view();
  LM_TRY(Pieces pieces, Pieces::make(call));
  std::size_t at = skip_space(text, 0);
  for (std::uint64_t n = 0; at < text.size(); ++n) {
    std::size_t end = at;
    if (n == most) {
      end = text.size();  // the rest, with the white space at its end
    } else {
      while (end < text.size()) {
        const auto character = utf8::decode(text, end);
        if (is_space(character.code_point)) {
          break;
        }
        end += character.bytes;
      }
    }
    LM_CHECK(pieces.add(at, end));
    at = skip_space(text, end);
  }
  return pieces.value();
}

Eval<Value> rsplit_at_space(Call& call, std::uint64_t most) {
  const std::string_view text = self_text(call).view();
  LM_TRY(Pieces pieces, Pieces::make(call));
  const auto back_over = [&](std::size_t end, bool space) {
    while (end > 0) {
      const auto character = utf8::decode_before(text, end);
      if (is_space(character.code_point) != space) {
        break;
      }
      end -= character.bytes;
    }
    return end;
  };
  std::size_t end = back_over(text.size(), true);
  for (std::uint64_t n = 0; end > 0; ++n) {
    const std::size_t begin = n == most ? 0 : back_over(end, false);
    LM_CHECK(pieces.add(begin, end));
    end = back_over(begin, true);
  }
  pieces.reverse();
  return pieces.value();
}

template <bool kFromRight>
Eval<Value> split_method(Call& call) {
  LM_TRY(const Text* separator, call.text(0));
  LM_TRY(const std::int64_t limit, call.integer(1, -1));
  const std::uint64_t most = limit < 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(limit);
  const std::string_view text = self_text(call).view();
  LM_CHECK(call.budget.step_bytes(text.size()));
  if (!separator) {
    return kFromRight ? rsplit_at_space(call, most) : split_at_space(call, most);
  }
  if (separator->empty()) {
    return call.fail("the separator is empty");
  }
  const std::string_view by = separator->view();
  LM_TRY(Pieces pieces, Pieces::make(call));
  if (kFromRight) {
    std::size_t end = text.size();
    for (std::uint64_t n = 0; n < most && end >= by.size(); ++n) {
      const std::size_t found = text.rfind(by, end - by.size());
      if (found == kNone) {
        break;
      }
      LM_CHECK(pieces.add(found + by.size(), end));
      end = found;
    }
    LM_CHECK(pieces.add(0, end));
    pieces.reverse();
    return pieces.value();
  }
  std::size_t begin = 0;
  for (std::uint64_t n = 0; n < most; ++n) {
    const std::size_t found = text.find(by, begin);
    if (found == kNone) {
      break;
    }
    LM_CHECK(pieces.add(begin, found));
    begin = found + by.size();
  }
  LM_CHECK(pieces.add(begin, text.size()));
  return pieces.value();
}

Eval<Value> splitlines_method(Call& call) {
  LM_CHECK(call.budget.step_bytes(self_text(call).size()));
  LM_TRY(Pieces pieces, Pieces::make(call));
  for (const auto& [begin, end] : line_spans(self_text(call).view(), call.flag(0, false))) {
    LM_CHECK(pieces.add(begin, end));
  }
  return pieces.value();
}

template <bool kFromRight>
Eval<Value> partition_method(Call& call) {
  LM_TRY(const Text* separator, call.text(0));
  if (!separator || separator->empty()) {
    return call.fail("a separator that is not empty is expected");
  }
  const Text& text = self_text(call);
  LM_CHECK(call.budget.step_bytes(text.size()));
  const std::size_t found =
      kFromRight ? text.view().rfind(separator->view()) : text.view().find(separator->view());
  LM_TRY(Pieces pieces, Pieces::make(call, ListObject::Flavour::tuple));
  if (found != kNone) {
    LM_CHECK(pieces.add(0, found));
    LM_CHECK(
        pieces.add(found, found + separator->size()));  // the text's own, not the one asked for
    LM_CHECK(pieces.add(found + separator->size(), text.size()));
  } else if (kFromRight) {
    LM_CHECK(pieces.add(0, 0));
    LM_CHECK(pieces.add(0, 0));
    LM_CHECK(pieces.add(0, text.size()));
  } else {
    LM_CHECK(pieces.add(0, text.size()));
    LM_CHECK(pieces.add(0, 0));
    LM_CHECK(pieces.add(0, 0));
  }
  return pieces.value();
}

Eval<Value> join_method(Call& call) {
  LM_TRY(const std::vector<Value> items, call.interpreter.elements(call.at(0)));
  TextBuilder out(call.budget);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is(Kind::text)) {
      return call.fail("item " + std::to_string(i) + " is no string but " +
                       std::string(type_name(items[i])));
    }
    if (i > 0) {
      out.append(self_text(call));
    }
    out.append(items[i].text());
    LM_CHECK(call.budget.step());
  }
  return out.finish();
}

Eval<Value> format_method(Call& call) {
  return format_braces(call.interpreter, self_text(call), call.rest);
}

/// The fill character, a blank when there is none.
Eval<Text> fill_of(Call& call) {
  LM_TRY(const Text* fill, call.text(1));
  if (!fill) {
    return Text(" ", self_text(call).origin_at(0));
  }
  if (fill->n_chars() != 1) {
    return call.fail("the fill character must be one character");
  }
  return *fill;
}

Eval<Value> center_method(Call& call) {
  LM_TRY(const std::int64_t width, call.integer(0, 0));
  LM_TRY(const Text fill, fill_of(call));
  return center(call.budget, self_text(call), width, fill);
}

template <bool kLeft>
Eval<Value> just_method(Call& call) {
  LM_TRY(const std::int64_t width, call.integer(0, 0));
  LM_TRY(const Text fill, fill_of(call));
  const auto n = static_cast<std::int64_t>(self_text(call).n_chars());
  const auto room = static_cast<std::uint64_t>(std::max<std::int64_t>(width - n, 0));
  TextBuilder out(call.budget);
  if (!kLeft) {
    out.repeat(fill, room);
  }
  out.append(self_text(call));
  if (kLeft) {
    out.repeat(fill, room);
  }
  return out.finish();
}

Eval<Value> zfill_method(Call& call) {
  LM_TRY(const std::int64_t width, call.integer(0, 0));
  const Text& text = self_text(call);
  const auto n = static_cast<std::int64_t>(text.n_chars());
  const bool sign = text.view().starts_with('+') || text.view().starts_with('-');
  TextBuilder out(call.budget);
  out.append(text, 0, sign ? 1 : 0);
  out.repeat('0', static_cast<std::uint64_t>(std::max<std::int64_t>(width - n, 0)),
             text.origin_at(0));
  out.append(text, sign ? 1 : 0, text.size());
  return out.finish();
}

Eval<Value> expandtabs_method(Call& call) {
  LM_TRY(const std::int64_t size, call.integer(0, 8));
  const Text& text = self_text(call);
  LM_CHECK(call.budget.step_bytes(text.size() * 4));
  TextBuilder out(call.budget);
  std::int64_t column = 0;
  for (std::size_t at = 0; at < text.size() && !out.failed();) {
    const auto character = utf8::decode(text.view(), at);
    if (character.code_point == '\t') {
      const std::int64_t blanks = size > 0 ? size - column % size : 0;
      out.repeat(' ', static_cast<std::uint64_t>(blanks), text.origin_at(at));
      column += blanks;
    } else {
      out.append(text, at, at + character.bytes);
      column = character.code_point == '\n' || character.code_point == '\r' ? 0 : column + 1;
    }
    at += character.bytes;
  }
  return out.finish();
}

template <bool kPrefix>
Eval<Value> remove_method(Call& call) {
  LM_TRY(const Text* part, call.text(0));
  const Text& text = self_text(call);
  if (!part) {
    return call.fail("a string is expected");
  }
  if (kPrefix && text.view().starts_with(part->view())) {
    return substring(call.budget, text, part->size(), text.size());
  }
  if (!kPrefix && text.view().ends_with(part->view())) {
    return substring(call.budget, text, 0, text.size() - part->size());
  }
  return call.self;
}

constexpr Function kRows[] = {
    {"capitalize", "", 0, false, capitalize_method},
    {"casefold", "", 0, false, case_method<Case::lower>},
    {"center", "/width /fillchar", 1, false, center_method},
    {"expandtabs", "tabsize", 0, false, expandtabs_method},
    {"format", "", 0, true, format_method},
    {"join", "/iterable", 1, false, join_method},
    {"ljust", "/width /fillchar", 1, false, just_method<true>},
    {"lower", "", 0, false, case_method<Case::lower>},
    {"lstrip", "/chars", 0, false, strip_method<Strip::left>},
    {"partition", "/sep", 1, false, partition_method<false>},
    {"removeprefix", "/prefix", 1, false, remove_method<true>},
    {"removesuffix", "/suffix", 1, false, remove_method<false>},
    {"replace", "/old /new count", 2, false, replace_method},
    {"rjust", "/width /fillchar", 1, false, just_method<false>},
    {"rpartition", "/sep", 1, false, partition_method<true>},
    {"rsplit", "sep maxsplit", 0, false, split_method<true>},
    {"rstrip", "/chars", 0, false, strip_method<Strip::right>},
    {"split", "sep maxsplit", 0, false, split_method<false>},
    {"splitlines", "keepends", 0, false, splitlines_method},
    {"strip", "/chars", 0, false, strip_method<Strip::both>},
    {"swapcase", "", 0, false, swapcase_method},
    {"title", "", 0, false, case_method<Case::title>},
    {"upper", "", 0, false, case_method<Case::upper>},
    {"zfill", "/width", 1, false, zfill_method},
};

}  // namespace

std::span<const Function> text_methods() {
  return kRows;
}

}  // namespace lm::jinja
