// Filters that look into elements: map, select, reject, groupby.
#include "runtime/chat/jinja_selection.h"

#include <charconv>

#include "runtime/chat/jinja_print.h"

namespace lm::jinja {

namespace {

using Flavour = ListObject::Flavour;

Eval<Value> path_part(Budget& budget, std::string_view part) {
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  const bool number = !part.empty() && error == std::errc() && end == part.data() + part.size() &&
                      part.front() != '-';
  return number ? Eval<Value>(Value::integer(index)) : make_text(budget, part);
}

/// Anything false counts as an empty list here: templates write `tools | selectattr(…)` with tools
/// none.
Eval<std::vector<Value>> elements_if_any(Call& call) {
  return truth(call.self) ? call.interpreter.elements(call.self) : std::vector<Value>();
}

Eval<Value> map_filter(Call& call) {
  LM_TRY(std::vector<Value> items, elements_if_any(call));
  LM_TRY(const Ref<ListObject> out, make_list(call.budget, Flavour::lazy));
  Arguments& rest = call.rest;
  if (rest.positional.empty()) {
    std::optional<Value> attribute;
    std::optional<Value> fallback;
    for (auto& [name, value] : rest.named) {
      if (name == "attribute") {
        attribute = std::move(value);
      } else if (name == "default") {
        fallback = std::move(value);
      } else {
        return call.fail("there is no argument '" + name + "'");
      }
    }
    if (!attribute) {
      return call.fail("the name of a filter, or attribute=, is missing");
    }
    LM_TRY(const AttributePath path, AttributePath::parse(call.budget, *attribute));
    for (const Value& item : items) {
      LM_TRY(Value part, path.of(call.interpreter, item, fallback));
      LM_CHECK(out->push(std::move(part)));
    }
    return to_value(out);
  }
  const Value name = rest.positional.front();
  if (!name.is(Kind::text)) {
    return call.fail("the name of a filter is expected, not " + std::string(type_name(name)));
  }
  for (const Value& item : items) {
    Arguments arguments{{rest.positional.begin() + 1, rest.positional.end()}, rest.named};
    LM_TRY(Value result, call.interpreter.apply_filter(name.view(), item, std::move(arguments)));
    LM_CHECK(out->push(std::move(result)));
  }
  return to_value(out);
}

/// select, reject, selectattr, rejectattr: keeps the elements for which the test (or truth) says
/// `kWanted`.
template <bool kWanted, bool kByAttribute>
Eval<Value> select_filter(Call& call) {
  LM_TRY(std::vector<Value> items, elements_if_any(call));
  Arguments& rest = call.rest;
  std::size_t used = 0;
  AttributePath path;
  if (kByAttribute) {
    if (rest.positional.empty()) {
      return call.fail("the name of an attribute is missing");
    }
    LM_TRY(path, AttributePath::parse(call.budget, rest.positional.front()));
    used = 1;
  }
  std::optional<Value> test;
  if (used < rest.positional.size()) {
    test = rest.positional[used++];
    if (!test->is(Kind::text)) {
      return call.fail("the name of a test is expected, not " + std::string(type_name(*test)));
    }
  }
  LM_TRY(const Ref<ListObject> out, make_list(call.budget, Flavour::lazy));
  for (const Value& item : items) {
    LM_TRY(const Value looked_at, path.of(call.interpreter, item));
    bool holds = truth(looked_at);
    if (test) {
      Arguments arguments{
          {rest.positional.begin() + static_cast<std::ptrdiff_t>(used), rest.positional.end()},
          rest.named};
      LM_TRY(holds, call.interpreter.apply_test(test->view(), looked_at, std::move(arguments)));
    }
    if (holds == kWanted) {
      LM_CHECK(out->push(item));
    }
  }
  return to_value(out);
}

Eval<Value> groupby_filter(Call& call) {
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  LM_TRY(const AttributePath path, AttributePath::parse(call.budget, call.at(0)));
  const std::optional<Value> fallback = call.has(1) ? std::optional(call.at(1)) : std::nullopt;
  const bool case_sensitive = call.flag(2, false);
  std::vector<Value> keys;
  for (const Value& item : items) {
    LM_TRY(Value key, path.of(call.interpreter, item, fallback));
    LM_TRY(key, sort_key(call.budget, std::move(key), case_sensitive));
    keys.push_back(std::move(key));
  }
  std::vector<Value> sorted_keys = keys;
  LM_CHECK(sort_by_keys(call.budget, items, sorted_keys, false));
  LM_TRY(const Ref<ListObject> groups, make_list(call.budget));
  Ref<ListObject> members;
  for (std::size_t i = 0; i < items.size(); ++i) {
    bool same = false;
    if (i > 0) {
      LM_TRY(same, equal(call.budget, sorted_keys[i - 1], sorted_keys[i]));
    }
    if (!same) {
      LM_TRY(members, make_list(call.budget));
      LM_TRY(const Ref<ListObject> group, make_list(call.budget, Flavour::group));
      // The name of a group is spelt as in its first member.
      LM_TRY(Value grouper, path.of(call.interpreter, items[i], fallback));
      LM_CHECK(group->push(std::move(grouper)));
      LM_CHECK(group->push(to_value(members)));
      LM_CHECK(groups->push(to_value(group)));
    }
    LM_CHECK(members->push(items[i]));
  }
  return to_value(groups);
}

constexpr Function kRows[] = {
    {"groupby", "attribute default case_sensitive", 1, false, groupby_filter},
    {"map", "", 0, true, map_filter},
    {"reject", "", 0, true, select_filter<false, false>},
    {"rejectattr", "", 0, true, select_filter<false, true>},
    {"select", "", 0, true, select_filter<true, false>},
    {"selectattr", "", 0, true, select_filter<true, true>},
};

}  // namespace

std::span<const Function> selection_filters() {
  return kRows;
}

Eval<AttributePath> AttributePath::parse(Budget& budget, const Value& spelt) {
  AttributePath path;
  if (spelt.is(Kind::none)) {
    return path;
  }
  if (spelt.is_integral()) {
    path.parts_.push_back(spelt);
    return path;
  }
  if (!spelt.is(Kind::text)) {
    return budget.fail("an attribute is a string or an integer, not " +
                       std::string(type_name(spelt)));
  }
  std::string_view rest = spelt.view();
  LM_CHECK(budget.step(rest.size()));
  while (true) {
    const std::size_t dot = rest.find('.');
    LM_TRY(Value part, path_part(budget, rest.substr(0, dot)));
    path.parts_.push_back(std::move(part));
    if (dot == std::string_view::npos) {
      return path;
    }
    rest.remove_prefix(dot + 1);
  }
}

Eval<std::vector<AttributePath>> AttributePath::parse_list(Budget& budget, const Value& spelt) {
  std::vector<AttributePath> paths;
  if (!spelt.is(Kind::text)) {
    LM_TRY(AttributePath path, parse(budget, spelt));
    paths.push_back(std::move(path));
    return paths;
  }
  std::string_view rest = spelt.view();
  LM_CHECK(budget.step(rest.size()));
  while (true) {
    const std::size_t comma = rest.find(',');
    LM_TRY(const Value part, make_text(budget, rest.substr(0, comma)));
    LM_TRY(AttributePath path, parse(budget, part));
    paths.push_back(std::move(path));
    if (comma == std::string_view::npos) {
      return paths;
    }
    rest.remove_prefix(comma + 1);
  }
}

Eval<Value> AttributePath::of(Interpreter& interpreter, const Value& element,
                              const std::optional<Value>& fallback) const {
  Value value = element;
  for (const Value& part : parts_) {
    LM_CHECK(interpreter.budget().step());
    LM_TRY(value, interpreter.item(value, part));
    if (fallback && value.is(Kind::undefined)) {
      value = *fallback;
    }
  }
  return value;
}

Eval<Value> sort_key(Budget& budget, Value value, bool case_sensitive) {
  if (case_sensitive || !value.is(Kind::text)) {
    return value;
  }
  return change_case(budget, value.text(), Case::lower);
}

Eval<void> sort_by_keys(Budget& budget, std::vector<Value>& values, std::vector<Value>& keys,
                        bool descending) {
  // Merge sort from the bottom: a comparison may fail, and may be inconsistent without harm.
  const std::size_t n = values.size();
  std::vector<std::size_t> order(n);
  std::vector<std::size_t> merged(n);
  for (std::size_t i = 0; i < n; ++i) {
    order[i] = i;
  }
  for (std::size_t width = 1; width < n; width *= 2) {
    for (std::size_t begin = 0; begin < n; begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, n);
      const std::size_t end = std::min(begin + 2 * width, n);
      std::size_t a = begin;
      std::size_t b = middle;
      for (std::size_t out = begin; out < end; ++out) {
        bool take_b = a == middle;
        if (a < middle && b < end) {
          const Value& left = keys[order[a]];
          const Value& right = keys[order[b]];
          LM_TRY(take_b, descending ? less(budget, left, right) : less(budget, right, left));
        }
        merged[out] = take_b ? order[b++] : order[a++];
      }
    }
    order.swap(merged);
  }
  std::vector<Value> sorted_values;
  std::vector<Value> sorted_keys;
  for (const std::size_t i : order) {
    sorted_values.push_back(std::move(values[i]));
    sorted_keys.push_back(std::move(keys[i]));
  }
  values = std::move(sorted_values);
  keys = std::move(sorted_keys);
  return {};
}

}  // namespace lm::jinja
