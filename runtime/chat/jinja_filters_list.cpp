// Filters on lists and maps that look at whole elements.
#include <algorithm>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_print.h"
#include "runtime/chat/jinja_selection.h"

namespace lm::jinja {

namespace {

using Flavour = ListObject::Flavour;

Eval<Value> list_of(Budget& budget, std::vector<Value> items, Flavour flavour = Flavour::list) {
  LM_TRY(const Ref<ListObject> list, make_list(budget, flavour));
  for (Value& item : items) {
    LM_CHECK(list->push(std::move(item)));
  }
  return to_value(list);
}

Eval<Value> length_filter(Call& call) {
  LM_TRY(const std::int64_t n, call.interpreter.length(call.self));
  return Value::integer(n);
}

Eval<Value> list_filter(Call& call) {
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  return list_of(call.budget, std::move(items));
}

Eval<Value> first_filter(Call& call) {
  if (call.self.is(Kind::list) && call.self.list().flavour == Flavour::lazy &&
      !call.self.list().items.empty()) {
    auto& items = call.self.list().items;
    const Value first = items.front();
    items.erase(items.begin());  // taking the first uses it up
    return first;
  }
  LM_TRY(const std::vector<Value> items, call.interpreter.elements(call.self));
  return items.empty() ? make_undefined(call.budget, "no first item: the sequence is empty")
                       : items.front();
}

Eval<Value> last_filter(Call& call) {
  LM_TRY(const std::vector<Value> items, call.interpreter.elements(call.self));
  return items.empty() ? make_undefined(call.budget, "no last item: the sequence is empty")
                       : items.back();
}

Eval<Value> reverse_filter(Call& call) {
  if (call.self.is(Kind::text)) {
    return call.interpreter.slice(call.self, Value::none(), Value::none(), Value::integer(-1));
  }
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  std::ranges::reverse(items);
  return list_of(call.budget, std::move(items), Flavour::lazy);
}

Eval<Value> join_filter(Call& call) {
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  LM_TRY(const Value separator,
         call.has(0) ? to_text(call.budget, call.at(0)) : make_text(call.budget, ""));
  if (!call.is_none(1)) {
    LM_TRY(const AttributePath path, AttributePath::parse(call.budget, call.at(1)));
    for (Value& item : items) {
      LM_TRY(item, path.of(call.interpreter, item));
    }
  }
  TextBuilder out(call.budget);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) {
      out.append(separator.text());
    }
    append_str(out, call.budget, items[i]);
    LM_CHECK(call.budget.step());
  }
  return out.finish();
}

Eval<Value> sort_filter(Call& call) {
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  LM_TRY(const std::vector<AttributePath> paths,
         AttributePath::parse_list(call.budget, call.has(2) ? call.at(2) : Value::none()));
  std::vector<Value> keys;
  for (const Value& item : items) {
    LM_TRY(const Ref<ListObject> key, make_list(call.budget, Flavour::list));
    for (const AttributePath& path : paths) {
      LM_TRY(Value part, path.of(call.interpreter, item));
      LM_TRY(part, sort_key(call.budget, std::move(part), call.flag(1, false)));
      LM_CHECK(key->push(std::move(part)));
    }
    keys.push_back(to_value(key));
  }
  LM_CHECK(sort_by_keys(call.budget, items, keys, call.flag(0, false)));
  return list_of(call.budget, std::move(items));
}

Eval<Value> dictsort_filter(Call& call) {
  if (!call.self.is(Kind::map) || call.self.map().is_namespace) {
    return call.fail("a map is expected, not " + std::string(type_name(call.self)));
  }
  LM_TRY(const Text* by, call.text(1));
  const std::string_view field = by ? by->view() : "key";
  if (field != "key" && field != "value") {
    return call.fail("'by' must be 'key' or 'value'");
  }
  std::vector<Value> pairs;
  std::vector<Value> keys;
  for (const MapObject::Entry& entry : call.self.map().entries) {
    LM_TRY(Value pair, list_of(call.budget, {entry.key, entry.value}, Flavour::tuple));
    LM_TRY(Value key,
           sort_key(call.budget, field == "key" ? entry.key : entry.value, call.flag(0, false)));
    pairs.push_back(std::move(pair));
    keys.push_back(std::move(key));
  }
  LM_CHECK(sort_by_keys(call.budget, pairs, keys, call.flag(2, false)));
  return list_of(call.budget, std::move(pairs));
}

Eval<Value> unique_filter(Call& call) {
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  LM_TRY(const AttributePath path,
         AttributePath::parse(call.budget, call.has(1) ? call.at(1) : Value::none()));
  LM_TRY(const Ref<MapObject> seen, make_map(call.budget));
  std::vector<Value> kept;
  for (Value& item : items) {
    LM_CHECK(call.budget.step());
    LM_TRY(Value key, path.of(call.interpreter, item));
    LM_TRY(key, sort_key(call.budget, std::move(key), call.flag(0, false)));
    const std::size_t before = seen->entries.size();
    LM_CHECK(seen->set(key, Value::none()));
    if (seen->entries.size() > before) {
      kept.push_back(std::move(item));
    }
  }
  return list_of(call.budget, std::move(kept), Flavour::lazy);
}

template <bool kMax>
Eval<Value> extreme_filter(Call& call) {
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  LM_TRY(const AttributePath path,
         AttributePath::parse(call.budget, call.has(1) ? call.at(1) : Value::none()));
  if (items.empty()) {
    return make_undefined(call.budget, "no item: the sequence is empty");
  }
  std::size_t best = 0;
  Value best_key;
  for (std::size_t i = 0; i < items.size(); ++i) {
    LM_TRY(Value key, path.of(call.interpreter, items[i]));
    LM_TRY(key, sort_key(call.budget, std::move(key), call.flag(0, false)));
    if (i > 0) {
      LM_TRY(const bool better,
             kMax ? less(call.budget, best_key, key) : less(call.budget, key, best_key));
      if (!better) {
        continue;
      }
    }
    best = i;
    best_key = std::move(key);
  }
  return items[best];
}

Eval<Value> sum_filter(Call& call) {
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  LM_TRY(const AttributePath path,
         AttributePath::parse(call.budget, call.has(0) ? call.at(0) : Value::none()));
  Value total = call.has(1) ? call.at(1) : Value::integer(0);
  for (const Value& item : items) {
    LM_TRY(const Value part, path.of(call.interpreter, item));
    LM_TRY(total, call.interpreter.binary(Op::add, total, part));
  }
  return total;
}

Eval<Value> batch_filter(Call& call) {
  LM_TRY(std::vector<Value> items, call.interpreter.elements(call.self));
  LM_TRY(const std::int64_t size, call.integer(0, 0));
  if (size < 1) {
    return call.fail("the size must be at least 1");
  }
  const auto n = static_cast<std::size_t>(size);
  LM_TRY(const Ref<ListObject> batches, make_list(call.budget, Flavour::lazy));
  Ref<ListObject> row;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i % n == 0) {
      LM_TRY(row, make_list(call.budget));
      LM_CHECK(batches->push(to_value(row)));
    }
    LM_CHECK(row->push(std::move(items[i])));
  }
  while (row && !call.is_none(1) && row->items.size() < n) {
    LM_CHECK(call.budget.step());
    LM_CHECK(row->push(call.at(1)));
  }
  return to_value(batches);
}

Eval<Value> slice_filter(Call& call) {
  LM_TRY(const std::vector<Value> items, call.interpreter.elements(call.self));
  LM_TRY(const std::int64_t count, call.integer(0, 0));
  if (count < 1) {
    return call.fail("the number of slices must be at least 1");
  }
  const auto n = static_cast<std::size_t>(count);
  const std::size_t size = items.size() / n;
  const std::size_t longer = items.size() % n;
  LM_TRY(const Ref<ListObject> slices, make_list(call.budget, Flavour::lazy));
  std::size_t at = 0;
  for (std::size_t i = 0; i < n; ++i) {
    LM_CHECK(call.budget.step());
    LM_TRY(const Ref<ListObject> row, make_list(call.budget));
    const std::size_t end = at + size + (i < longer ? 1 : 0);
    for (; at < end; ++at) {
      LM_CHECK(row->push(items[at]));
    }
    if (!call.is_none(1) && i >= longer) {
      LM_CHECK(row->push(call.at(1)));
    }
    LM_CHECK(slices->push(to_value(row)));
  }
  return to_value(slices);
}

Eval<Value> items_filter(Call& call) {
  if (!call.self.is(Kind::undefined) &&
      (!call.self.is(Kind::map) || call.self.map().is_namespace)) {
    return call.fail("a map is expected, not " + std::string(type_name(call.self)));
  }
  std::vector<Value> pairs;
  if (call.self.is(Kind::map)) {
    for (const MapObject::Entry& entry : call.self.map().entries) {
      LM_TRY(Value pair, list_of(call.budget, {entry.key, entry.value}, Flavour::tuple));
      pairs.push_back(std::move(pair));
    }
  }
  return list_of(call.budget, std::move(pairs), Flavour::lazy);
}

Eval<Value> default_filter(Call& call) {
  const bool missing = call.self.is(Kind::undefined) || (call.flag(1, false) && !truth(call.self));
  if (!missing) {
    return call.self;
  }
  return call.has(0) ? Eval<Value>(call.at(0)) : make_text(call.budget, "");
}

Eval<Value> attr_filter(Call& call) {
  LM_TRY(const Value name, to_text(call.budget, call.at(0)));
  // Only attributes, not keys: what a map has under this name is not one.
  if (call.self.is(Kind::map) && !call.self.map().is_namespace &&
      !find_method(call.self, name.view())) {
    return make_undefined(call.budget,
                          "'dict object' has no attribute '" + std::string(name.view()) + "'");
  }
  return call.interpreter.attribute(call.self, name.view());
}

constexpr Function kRows[] = {
    {"attr", "name", 1, false, attr_filter},
    {"batch", "linecount fill_with", 1, false, batch_filter},
    {"count", "", 0, false, length_filter},
    {"d", "default_value boolean", 0, false, default_filter},
    {"default", "default_value boolean", 0, false, default_filter},
    {"dictsort", "case_sensitive by reverse", 0, false, dictsort_filter},
    {"first", "", 0, false, first_filter},
    {"items", "", 0, false, items_filter},
    {"join", "d attribute", 0, false, join_filter},
    {"last", "", 0, false, last_filter},
    {"length", "", 0, false, length_filter},
    {"list", "", 0, false, list_filter},
    {"max", "case_sensitive attribute", 0, false, extreme_filter<true>},
    {"min", "case_sensitive attribute", 0, false, extreme_filter<false>},
    {"reverse", "", 0, false, reverse_filter},
    {"slice", "slices fill_with", 1, false, slice_filter},
    {"sort", "reverse case_sensitive attribute", 0, false, sort_filter},
    {"sum", "attribute start", 0, false, sum_filter},
    {"unique", "case_sensitive attribute", 0, false, unique_filter},
};

}  // namespace

std::span<const Function> list_filters() {
  return kRows;
}

}  // namespace lm::jinja
