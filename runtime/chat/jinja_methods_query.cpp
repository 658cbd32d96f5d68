// Methods of str that ask: where, how often, what kind of characters.
#include <algorithm>

#include "runtime/chat/jinja_eval.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

const Text& self_text(const Call& call) {
  return call.self.text();
}

/// Byte offsets of the part that arguments `first` and `first + 1` (start, end in characters) name.
struct Window {
  std::size_t begin, end;
  bool valid;  ///< start is not behind the end
};

Eval<Window> window(Call& call, std::size_t first) {
  const Text& text = self_text(call);
  const auto n = static_cast<std::int64_t>(text.n_chars());
  LM_CHECK(call.budget.step_bytes(text.size()));
  LM_TRY(std::int64_t start, call.is_none(first) ? Eval<std::int64_t>(0) : call.integer(first, 0));
  LM_TRY(std::int64_t end,
         call.is_none(first + 1) ? Eval<std::int64_t>(n) : call.integer(first + 1, n));
  const bool beyond = start > n;
  for (std::int64_t* place : {&start, &end}) {
    *place = *place < 0 ? (*place < -n ? 0 : *place + n) : std::min(*place, n);
  }
  return Window{text.offset_of(static_cast<std::size_t>(start)),
                text.offset_of(static_cast<std::size_t>(end)), !beyond && start <= end};
}

template <bool kStart>
bool has_affix(std::string_view text, std::string_view affix) {
  return kStart ? text.starts_with(affix) : text.ends_with(affix);
}

template <bool kStart>
Eval<Value> affix_method(Call& call) {
  LM_TRY(const Window part, window(call, 1));
  const std::string_view text =
      part.valid ? self_text(call).view().substr(part.begin, part.end - part.begin) : "";
  const Value& affix = call.at(0);
  if (affix.is(Kind::text)) {
    return Value::boolean(part.valid && has_affix<kStart>(text, affix.view()));
  }
  if (!affix.is(Kind::list) || affix.list().flavour != ListObject::Flavour::tuple) {
    return call.fail("a string or a tuple of strings is expected, not " +
                     std::string(type_name(affix)));
  }
  for (const Value& one : affix.list().items) {
    LM_CHECK(call.budget.step());
    if (!one.is(Kind::text)) {
      return call.fail("a tuple of strings is expected");
    }
    if (part.valid && has_affix<kStart>(text, one.view())) {
      return Value::boolean(true);
    }
  }
  return Value::boolean(false);
}

/// find and index, from the left or the right. Places count in characters.
template <bool kFromRight, bool kMustBe>
Eval<Value> find_method_of(Call& call) {
  LM_TRY(const Text* wanted, call.text(0));
  if (!wanted) {
    return call.fail("a string is expected");
  }
  LM_TRY(const Window part, window(call, 1));
  const Text& text = self_text(call);
  const std::string_view within =
      part.valid ? text.view().substr(part.begin, part.end - part.begin) : "";
  const std::size_t found = !part.valid  ? std::string_view::npos
                            : kFromRight ? within.rfind(wanted->view())
                                         : within.find(wanted->view());
  if (found == std::string_view::npos) {
    return kMustBe ? Eval<Value>(call.fail("substring not found")) : Value::integer(-1);
  }
  const Text before(std::string(text.view().substr(0, part.begin + found)), Origin::literal);
  return Value::integer(static_cast<std::int64_t>(before.n_chars()));
}

Eval<Value> count_method(Call& call) {
  LM_TRY(const Text* wanted, call.text(0));
  if (!wanted) {
    return call.fail("a string is expected");
  }
  LM_TRY(const Window part, window(call, 1));
  const std::string_view within =
      part.valid ? self_text(call).view().substr(part.begin, part.end - part.begin) : "";
  if (wanted->empty()) {
    const Text copy(std::string(within), Origin::literal);
    return Value::integer(part.valid ? static_cast<std::int64_t>(copy.n_chars()) + 1 : 0);
  }
  std::int64_t n = 0;
  for (std::size_t at = within.find(wanted->view()); at != std::string_view::npos;
       at = within.find(wanted->view(), at + wanted->size())) {
    ++n;
  }
  return Value::integer(n);
}

bool is_alnum(std::uint32_t c) {
  return is_alpha(c) || is_numeric(c);
}
bool is_ascii(std::uint32_t c) {
  return c < 0x80;
}

/// True when there are characters (or `kEmpty` allows none) and each satisfies.
template <bool (*kTest)(std::uint32_t), bool kEmpty = false>
Eval<Value> all_method(Call& call) {
  const std::string_view text = self_text(call).view();
  LM_CHECK(call.budget.step_bytes(text.size()));
  for (std::size_t at = 0; at < text.size();) {
    const auto character = utf8::decode(text, at);
    if (!kTest(character.code_point)) {
      return Value::boolean(false);
    }
    at += character.bytes;
  }
  return Value::boolean(kEmpty || !text.empty());
}

template <bool kUpper>
Eval<Value> case_query(Call& call) {
  const Function* test = find_test(kUpper ? "upper" : "lower");
  return run_function(call.interpreter, *test, call.self, {});
}

Eval<Value> istitle_method(Call& call) {
  const std::string_view text = self_text(call).view();
  LM_CHECK(call.budget.step_bytes(text.size()));
  bool in_word = false;
  bool cased = false;
  for (std::size_t at = 0; at < text.size();) {
    const auto character = utf8::decode(text, at);
    const bool big = is_upper(character.code_point) || is_title(character.code_point);
    const bool small = is_lower(character.code_point);
    if ((big && in_word) || (small && !in_word)) {
      return Value::boolean(false);
    }
    in_word = big || small;
    cased = cased || in_word;
    at += character.bytes;
  }
  return Value::boolean(cased);
}

Eval<Value> isidentifier_method(Call& call) {
  const std::string_view text = self_text(call).view();
  LM_CHECK(call.budget.step_bytes(text.size()));
  for (std::size_t at = 0; at < text.size();) {
    const auto character = utf8::decode(text, at);
    if (at == 0 ? !begins_name(character.code_point) : !continues_name(character.code_point)) {
      return Value::boolean(false);
    }
    at += character.bytes;
  }
  return Value::boolean(!text.empty());
}

constexpr Function kRows[] = {
    {"count", "/sub /start /end", 1, false, count_method},
    {"endswith", "/suffix /start /end", 1, false, affix_method<false>},
    {"find", "/sub /start /end", 1, false, find_method_of<false, false>},
    {"index", "/sub /start /end", 1, false, find_method_of<false, true>},
    {"isalnum", "", 0, false, all_method<is_alnum>},
    {"isalpha", "", 0, false, all_method<is_alpha>},
    {"isascii", "", 0, false, all_method<is_ascii, true>},
    {"isdecimal", "", 0, false, all_method<is_decimal>},
    {"isdigit", "", 0, false, all_method<is_decimal>},
    {"isidentifier", "", 0, false, isidentifier_method},
    {"islower", "", 0, false, case_query<false>},
    {"isnumeric", "", 0, false, all_method<is_numeric>},
    {"isprintable", "", 0, false, all_method<is_printable, true>},
    {"isspace", "", 0, false, all_method<is_space>},
    {"istitle", "", 0, false, istitle_method},
    {"isupper", "", 0, false, case_query<true>},
    {"rfind", "/sub /start /end", 1, false, find_method_of<true, false>},
    {"rindex", "/sub /start /end", 1, false, find_method_of<true, true>},
    {"startswith", "/prefix /start /end", 1, false, affix_method<true>},
};

}  // namespace

std::span<const Function> text_query_methods() {
  return kRows;
}

}  // namespace lm::jinja
