// Methods of list and dict. What changes an object changes the copy that this render made of the
// context.
#include <algorithm>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_selection.h"

namespace lm::jinja {

namespace {

using Flavour = ListObject::Flavour;

ListObject& list(const Call& call) {
  return call.self.list();
}
MapObject& map(const Call& call) {
  return call.self.map();
}

Eval<Value> append_method(Call& call) {
  call.interpreter.note_mutation(call.self, call.at(0));
  LM_CHECK(list(call).push(call.at(0)));
  return Value::none();
}

Eval<Value> extend_method(Call& call) {
  LM_TRY(const std::vector<Value> items, call.interpreter.elements(call.at(0)));
  for (const Value& item : items) {
    call.interpreter.note_mutation(call.self, item);
    LM_CHECK(list(call).push(item));
  }
  return Value::none();
}

Eval<Value> insert_method(Call& call) {
  LM_TRY(const std::int64_t at, call.integer(0, 0));
  auto& items = list(call).items;
  const auto n = static_cast<std::int64_t>(items.size());
  const std::int64_t place =
      at < 0 ? std::max<std::int64_t>(at < -n ? 0 : at + n, 0) : std::min(at, n);
  LM_CHECK(call.budget.step(static_cast<std::uint64_t>(n - place)));
  call.interpreter.note_mutation(call.self, call.at(1));
  LM_CHECK(list(call).push(call.at(1)));
  std::rotate(items.begin() + place, items.end() - 1, items.end());
  return Value::none();
}

Eval<Value> pop_list_method(Call& call) {
  auto& items = list(call).items;
  LM_TRY(const std::int64_t at, call.integer(0, -1));
  const auto n = static_cast<std::int64_t>(items.size());
  const std::int64_t place = at < 0 ? at + n : at;
  if (place < 0 || place >= n) {
    return call.fail(n == 0 ? "the list is empty"
                            : "index " + std::to_string(at) + " is out of range");
  }
  LM_CHECK(call.budget.step(static_cast<std::uint64_t>(n - place)));
  Value popped = items[static_cast<std::size_t>(place)];
  items.erase(items.begin() + place);
  return popped;
}

/// Where the item stands; -1 when it is not there.
Eval<std::int64_t> position(Call& call) {
  const auto& items = list(call).items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    LM_TRY(const bool same, equal(call.budget, items[i], call.at(0)));
    if (same) {
      return static_cast<std::int64_t>(i);
    }
  }
  return -1;
}

Eval<Value> index_method(Call& call) {
  LM_TRY(const std::int64_t at, position(call));
  return at < 0 ? Eval<Value>(call.fail("the item is not in the list")) : Value::integer(at);
}

Eval<Value> remove_method(Call& call) {
  LM_TRY(const std::int64_t at, position(call));
  if (at < 0) {
    return call.fail("the item is not in the list");
  }
  list(call).items.erase(list(call).items.begin() + at);
  return Value::none();
}

Eval<Value> count_method(Call& call) {
  std::int64_t n = 0;
  for (const Value& item : list(call).items) {
    LM_TRY(const bool same, equal(call.budget, item, call.at(0)));
    n += same ? 1 : 0;
  }
  return Value::integer(n);
}

Eval<Value> reverse_method(Call& call) {
  LM_CHECK(call.budget.step(list(call).items.size()));
  std::ranges::reverse(list(call).items);
  return Value::none();
}

Eval<Value> sort_method(Call& call) {
  if (!call.is_none(0)) {
    return call.fail("a key function is not supported");
  }
  std::vector<Value> keys = list(call).items;
  LM_CHECK(call.budget.step(keys.size()));
  std::vector<Value> items = keys;
  LM_CHECK(sort_by_keys(call.budget, items, keys, call.flag(1, false)));
  list(call).items = std::move(items);
  return Value::none();
}

Eval<Value> clear_list_method(Call& call) {
  std::vector<Value>().swap(list(call).items);
  return Value::none();
}

Eval<Value> copy_list_method(Call& call) {
  return call.interpreter.apply_filter("list", call.self, {});
}

template <Flavour kFlavour>
Eval<Value> view_method(Call& call) {
  LM_TRY(const Ref<ListObject> view, make_list(call.budget, kFlavour));
  for (const MapObject::Entry& entry : map(call).entries) {
    LM_CHECK(call.budget.step());
    if (kFlavour == Flavour::items) {
      LM_TRY(const Ref<ListObject> pair, make_list(call.budget, Flavour::tuple));
      LM_CHECK(pair->push(entry.key));
      LM_CHECK(pair->push(entry.value));
      LM_CHECK(view->push(to_value(pair)));
    } else {
      LM_CHECK(view->push(kFlavour == Flavour::keys ? entry.key : entry.value));
    }
  }
  return to_value(view);
}

Eval<Value> get_method(Call& call) {
  if (!key_of(call.at(0))) {
    return call.fail("a " + std::string(type_name(call.at(0))) + " can't be a key");
  }
  const Value* found = map(call).find(call.at(0));
  return found ? *found : (call.has(1) ? call.at(1) : Value::none());
}

Eval<Value> pop_map_method(Call& call) {
  const Value* found = map(call).find(call.at(0));
  if (!found) {
    return call.has(1) ? Eval<Value>(call.at(1)) : call.fail("there is no such key");
  }
  Value popped = *found;
  LM_CHECK(call.budget.step(map(call).entries.size()));
  map(call).erase(call.at(0));
  return popped;
}

Eval<Value> popitem_method(Call& call) {
  if (map(call).entries.empty()) {
    return call.fail("the map is empty");
  }
  LM_TRY(const Ref<ListObject> pair, make_list(call.budget, Flavour::tuple));
  const MapObject::Entry last = map(call).entries.back();
  LM_CHECK(pair->push(last.key));
  LM_CHECK(pair->push(last.value));
  LM_CHECK(call.budget.step(map(call).entries.size()));
  map(call).erase(last.key);
  return to_value(pair);
}

Eval<Value> setdefault_method(Call& call) {
  if (const Value* found = map(call).find(call.at(0))) {
    return *found;
  }
  const Value value = call.has(1) ? call.at(1) : Value::none();
  call.interpreter.note_mutation(call.self, value);
  LM_CHECK(map(call).set(call.at(0), value));
  return value;
}

Eval<Value> update_method(Call& call) {
  const auto put = [&](const Value& key, const Value& value) -> Eval<void> {
    LM_CHECK(call.budget.step());
    call.interpreter.note_mutation(call.self, value);
    return map(call).set(key, value);
  };
  for (const Value& source : call.rest.positional) {
    if (source.is(Kind::map)) {
      const std::vector<MapObject::Entry> entries = source.map().entries;  // it may be this map
      for (const MapObject::Entry& entry : entries) {
        LM_CHECK(put(entry.key, entry.value));
      }
      continue;
    }
    LM_TRY(const std::vector<Value> pairs, call.interpreter.elements(source));
    for (const Value& pair : pairs) {
      LM_TRY(const std::vector<Value> parts, call.interpreter.elements(pair));
      if (parts.size() != 2) {
        return call.fail("pairs are expected");
      }
      LM_CHECK(put(parts[0], parts[1]));
    }
  }
  for (const auto& [name, value] : call.rest.named) {
    LM_TRY(const Value key, make_text(call.budget, name));
    LM_CHECK(put(key, value));
  }
  return Value::none();
}

Eval<Value> clear_map_method(Call& call) {
  map(call).clear();
  return Value::none();
}

Eval<Value> copy_map_method(Call& call) {
  LM_TRY(const Ref<MapObject> copy, make_map(call.budget));
  for (const MapObject::Entry& entry : map(call).entries) {
    LM_CHECK(call.budget.step());
    LM_CHECK(copy->set(entry.key, entry.value));
  }
  return to_value(copy);
}

constexpr Function kListRows[] = {
    {"append", "/object", 1, false, append_method},
    {"clear", "", 0, false, clear_list_method},
    {"copy", "", 0, false, copy_list_method},
    {"count", "/value", 1, false, count_method},
    {"extend", "/iterable", 1, false, extend_method},
    {"index", "/value", 1, false, index_method},
    {"insert", "/index /object", 2, false, insert_method},
    {"pop", "/index", 0, false, pop_list_method},
    {"remove", "/value", 1, false, remove_method},
    {"reverse", "", 0, false, reverse_method},
    {"sort", "key reverse", 0, false, sort_method},
};

constexpr Function kMapRows[] = {
    {"clear", "", 0, false, clear_map_method},
    {"copy", "", 0, false, copy_map_method},
    {"get", "/key /default", 1, false, get_method},
    {"items", "", 0, false, view_method<Flavour::items>},
    {"keys", "", 0, false, view_method<Flavour::keys>},
    {"pop", "/key /default", 1, false, pop_map_method},
    {"popitem", "", 0, false, popitem_method},
    {"setdefault", "/key /default", 1, false, setdefault_method},
    {"update", "", 0, true, update_method},
    {"values", "", 0, false, view_method<Flavour::values>},
};

}  // namespace

std::span<const Function> list_methods() {
  return kListRows;
}
std::span<const Function> map_methods() {
  return kMapRows;
}

}  // namespace lm::jinja
