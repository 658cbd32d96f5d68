// What is inside a value: attributes, items, slices, elements, membership.
#include <algorithm>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_objects.h"
#include "runtime/chat/jinja_print.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

std::string quoted_type(const Value& value) {
  return value.is(Kind::none) ? "None" : "'" + std::string(type_name(value)) + " object'";
}

Eval<std::optional<Value>> bound_method(Budget& budget, const Value& object,
                                        std::string_view name) {
  const Function* method = find_method(object, name);
  if (!method) {
    return std::optional<Value>();
  }
  LM_CHECK(budget.charge(sizeof(MethodObject)));
  budget.give_back(sizeof(MethodObject));
  const Ref<MethodObject> bound(new MethodObject(budget, *method, object));
  LM_CHECK(bound->charge(sizeof(MethodObject)));
  return std::optional(to_native(bound));
}

/// The two attributes of a pair that `groupby` made.
const Value* group_part(const Value& object, std::string_view name) {
  if (!object.is(Kind::list) || object.list().flavour != ListObject::Flavour::group) {
    return nullptr;
  }
  return name == "grouper" ? &object.list().items[0]
                           : (name == "list" ? &object.list().items[1] : nullptr);
}

/// Python's rule for slices: where to begin, where to stop (exclusive), by what to go.
struct Range {
  std::int64_t start, stop, step;
};

Eval<Range> slice_range(Budget& budget, std::int64_t n, const Value& start, const Value& stop,
                        const Value& step) {
  for (const Value* part : {&start, &stop, &step}) {
    if (!part->is_integral() && !part->is(Kind::none)) {
      return budget.fail("the parts of a slice must be integers, not " +
                         std::string(type_name(*part)));
    }
  }
  Range range{0, 0, step.is(Kind::none) ? 1 : step.as_integer()};
  if (range.step == 0) {
    return budget.fail("the step of a slice can't be zero");
  }
  const bool back = range.step < 0;
  const auto place = [&](const Value& part, std::int64_t fallback) {
    if (part.is(Kind::none)) {
      return fallback;
    }
    std::int64_t at = part.as_integer();
    if (at < 0) {
      at = at < -n ? (back ? -1 : 0) : at + n;
    }
    return std::min(at, back ? n - 1 : n);
  };
  range.start = place(start, back ? n - 1 : 0);
  range.stop = place(stop, back ? -1 : n);
  return range;
}

/// Calls `take(index)` for every index of the range.
template <class Take>
Eval<void> walk(Budget& budget, Range range, Take take) {
  const bool back = range.step < 0;
  for (std::int64_t i = range.start; back ? i > range.stop : i < range.stop;) {
    LM_CHECK(budget.step());
    LM_CHECK(take(static_cast<std::size_t>(i)));
    if (__builtin_add_overflow(i, range.step, &i)) {
      break;
    }
  }
  return {};
}

}  // namespace

Eval<Value> Interpreter::attribute(const Value& object, std::string_view name) {
  const auto missing = [&] {
    return make_undefined(budget_,
                          quoted_type(object) + " has no attribute '" + std::string(name) + "'");
  };
  if (object.is(Kind::undefined)) {
    return budget_.fail(object.undefined_hint());
  }
  if (name.starts_with("__")) {
    return missing();
  }
  if (const Value* part = group_part(object, name)) {
    return *part;
  }
  if (object.is(Kind::native)) {
    LM_TRY(const std::optional<Value> found, object.native().attribute(*this, name));
    return found ? *found : missing();
  }
  LM_TRY(const std::optional<Value> method, bound_method(budget_, object, name));
  if (method) {
    return *method;
  }
  if (object.is(Kind::map)) {
    if (const Value* found = object.map().find(name)) {
      return *found;
    }
  }
  return missing();
}

Eval<Value> Interpreter::item(const Value& object, const Value& key) {
  if (object.is(Kind::undefined)) {
    return budget_.fail(object.undefined_hint());
  }
  if (object.is(Kind::map) && !object.map().is_namespace) {
    if (const Value* found = object.map().find(key)) {
      return *found;
    }
  }
  const bool indexable =
      object.is(Kind::text) || (object.is(Kind::list) && object.list().is_sequence());
  if (indexable && key.is_integral()) {
    LM_TRY(const std::int64_t n, length(object));
    const std::int64_t at = key.as_integer() < 0 ? key.as_integer() + n : key.as_integer();
    if (at < 0 || at >= n) {
      return make_undefined(
          budget_, quoted_type(object) + " has no element " + std::to_string(key.as_integer()));
    }
    const auto index = static_cast<std::size_t>(at);
    if (object.is(Kind::list)) {
      return object.list().items[index];
    }
    const Text& text = object.text();
    LM_CHECK(budget_.step_bytes(text.ascii() ? 0 : text.size()));
    const std::size_t begin = text.offset_of(index);
    return substring(budget_, text, begin, begin + utf8::decode(text.view(), begin).bytes);
  }
  if (key.is(Kind::text)) {
    return attribute(object, key.view());
  }
  LM_TRY(const Value printed, repr(budget_, key));
  return make_undefined(budget_, quoted_type(object) + " has no element " +
                                     std::string(printed.view().substr(0, 64)));
}

Eval<Value> Interpreter::slice(const Value& object, const Value& start, const Value& stop,
                               const Value& step) {
  if (object.is(Kind::undefined)) {
    return budget_.fail(object.undefined_hint());
  }
  const bool list = object.is(Kind::list) && object.list().is_sequence();
  if (!list && !object.is(Kind::text)) {
    return make_undefined(budget_, quoted_type(object) + " can't be sliced");
  }
  LM_TRY(const std::int64_t n, length(object));
  LM_TRY(const Range range, slice_range(budget_, n, start, stop, step));
  if (list) {
    using Flavour = ListObject::Flavour;
    const ListObject& whole = object.list();
    LM_TRY(const Ref<ListObject> part,
           make_list(budget_, whole.flavour == Flavour::group ? Flavour::tuple : whole.flavour));
    // A slice of a range is a range. Unsigned: a step may be as wide as the template likes.
    const auto number = [&](std::int64_t place) {
      return static_cast<std::int64_t>(static_cast<std::uint64_t>(whole.start) +
                                       static_cast<std::uint64_t>(place) *
                                           static_cast<std::uint64_t>(whole.stride));
    };
    part->start = number(range.start);
    part->stop = number(range.stop);
    part->stride = static_cast<std::int64_t>(static_cast<std::uint64_t>(range.step) *
                                             static_cast<std::uint64_t>(whole.stride));
    LM_CHECK(
        walk(budget_, range, [&](std::size_t i) { return part->push(object.list().items[i]); }));
    return to_value(part);
  }
  const Text& text = object.text();
  LM_CHECK(budget_.step_bytes(text.size()));
  if (range.step == 1) {
    const std::size_t begin = text.offset_of(static_cast<std::size_t>(range.start));
    const std::size_t end =
        text.offset_of(static_cast<std::size_t>(std::max(range.stop, range.start)));
    return substring(budget_, text, begin, end);
  }
  std::vector<std::size_t> offsets;
  LM_CHECK(budget_.charge(static_cast<std::uint64_t>(n) * sizeof(std::size_t)));
  budget_.give_back(static_cast<std::uint64_t>(n) * sizeof(std::size_t));
  for (std::size_t at = 0; at < text.size(); at += utf8::decode(text.view(), at).bytes) {
    offsets.push_back(at);
  }
  TextBuilder out(budget_);
  LM_CHECK(walk(budget_, range, [&](std::size_t i) -> Eval<void> {
    out.append(text, offsets[i], offsets[i] + utf8::decode(text.view(), offsets[i]).bytes);
    return {};
  }));
  return out.finish();
}

Eval<std::vector<Value>> Interpreter::elements(const Value& iterable) {
  std::vector<Value> out;
  switch (iterable.kind()) {
    case Kind::undefined:
      return out;
    case Kind::list: {
      ListObject& list = iterable.list();
      LM_CHECK(budget_.step(list.items.size()));
      LM_CHECK(budget_.charge(list.items.size() * sizeof(Value)));
      budget_.give_back(list.items.size() * sizeof(Value));
      if (list.flavour == ListObject::Flavour::lazy) {
        out.swap(list.items);
      } else {
        out = list.items;
      }
      return out;
    }
    case Kind::map:
      if (iterable.map().is_namespace) {
        break;
      }
      LM_CHECK(budget_.step(iterable.map().entries.size()));
      for (const MapObject::Entry& entry : iterable.map().entries) {
        out.push_back(entry.key);
      }
      return out;
    case Kind::text: {
      const Text& text = iterable.text();
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t bytes = utf8::decode(text.view(), at).bytes;
        LM_CHECK(budget_.step());
        LM_TRY(Value character, substring(budget_, text, at, at + bytes));
        out.push_back(std::move(character));
        at += bytes;
      }
      return out;
    }
    case Kind::native:
      // A loop object can be walked in Jinja2; no template does.
    default:
      break;
  }
  return budget_.fail("a " + std::string(type_name(iterable)) + " can't be walked through");
}

Eval<std::int64_t> Interpreter::length(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::text:
      LM_CHECK(budget_.step_bytes(value.text().ascii() ? 0 : value.text().size()));
      return static_cast<std::int64_t>(value.text().n_chars());
    case Kind::list:
      return static_cast<std::int64_t>(value.list().items.size());
    case Kind::map:
      if (!value.map().is_namespace) {
        return static_cast<std::int64_t>(value.map().entries.size());
      }
      break;
    default:
      break;
  }
  return budget_.fail("a " + std::string(type_name(value)) + " has no length");
}

Eval<bool> Interpreter::contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::undefined:
      return false;
    case Kind::text:
      if (!item.is(Kind::text)) {
        return budget_.fail("'in <string>' needs a string on its left, not " +
                            std::string(type_name(item)));
      }
      LM_CHECK(budget_.step_bytes(container.text().size()));
      return container.view().contains(item.view());
    case Kind::list:
      for (const Value& element : container.list().items) {
        LM_TRY(const bool same, equal(budget_, element, item));
        if (same) {
          return true;
        }
      }
      return false;
    case Kind::map:
      if (container.map().is_namespace) {
        break;
      }
      if (!key_of(item)) {
        return budget_.fail("unhashable type: '" + std::string(type_name(item)) + "'");
      }
      return container.map().find(item) != nullptr;
    default:
      break;
  }
  return budget_.fail("argument of type '" + std::string(type_name(container)) +
                      "' is not iterable");
}

}  // namespace lm::jinja
