#include "runtime/chat/jinja_value.h"

#include <cmath>
#include <limits>

namespace lm::jinja {

namespace {

// Up to here a walk over the entries is faster than a hash.
constexpr std::size_t kIndexFrom = 8;

/// -1, 0, 1; nothing when one is NaN. Exact also where a double cannot hold the integer.
std::optional<int> compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    return a.as_integer() < b.as_integer() ? -1 : (a.as_integer() > b.as_integer() ? 1 : 0);
  }
  const auto x = a.is_integral() ? static_cast<long double>(a.as_integer())
                                 : static_cast<long double>(a.as_double());
  const auto y = b.is_integral() ? static_cast<long double>(b.as_integer())
                                 : static_cast<long double>(b.as_double());
  if (std::isnan(x) || std::isnan(y)) {
    return std::nullopt;
  }
  return x < y ? -1 : (x > y ? 1 : 0);
}

bool same_sort_of_list(const ListObject& a, const ListObject& b) {
  using Flavour = ListObject::Flavour;
  const auto plain = [](Flavour flavour) {
    return flavour == Flavour::group ? Flavour::tuple : flavour;
  };
  return plain(a.flavour) == plain(b.flavour);
}

}  // namespace

void Object::release() {
  if (--references_ > 0) {
    return;
  }
  Budget& budget = *budget_;
  next_dead_ = budget.dead;
  budget.dead = this;
  if (budget.burying) {
    return;  // the loop below, further up the stack, gets to it
  }
  budget.burying = true;
  while (Object* object = budget.dead) {
    budget.dead = object->next_dead_;
    delete object;
  }
  budget.burying = false;
}

Eval<void> Object::charge(std::uint64_t bytes) {
  LM_CHECK(budget_->charge(bytes));
  charged_ += bytes;
  return {};
}

Value Value::boolean(bool value, Origin origin) {
  Value made(Kind::boolean);
  made.integer_ = value ? 1 : 0;
  made.origin_ = origin;
  return made;
}

Value Value::integer(std::int64_t value, Origin origin) {
  Value made(Kind::integer);
  made.integer_ = value;
  made.origin_ = origin;
  return made;
}

Value Value::real(double value, Origin origin) {
  Value made(Kind::real);
  made.real_ = value;
  made.origin_ = origin;
  return made;
}

Value Value::object(Kind kind, Object* object) {
  Value made(kind);
  made.object_ = object;
  object->retain();
  return made;
}

Value::Value(const Value& other)
    : kind_(other.kind_), origin_(other.origin_), object_(other.object_), integer_(other.integer_) {
  if (object_) {
    object_->retain();
  }
}

Value::Value(Value&& other) noexcept
    : kind_(std::exchange(other.kind_, Kind::undefined)),
      origin_(other.origin_),
      object_(std::exchange(other.object_, nullptr)),
      integer_(other.integer_) {}

Value& Value::operator=(Value other) noexcept {
  std::swap(kind_, other.kind_);
  std::swap(origin_, other.origin_);
  std::swap(object_, other.object_);
  std::swap(integer_, other.integer_);
  return *this;
}

Value::~Value() {
  if (object_) {
    object_->release();
  }
}

double Value::as_double() const {
  return is(Kind::real) ? real_ : static_cast<double>(integer_);
}

const Text& Value::text() const {
  return static_cast<const TextObject*>(object_)->text;
}
ListObject& Value::list() const {
  return *static_cast<ListObject*>(object_);
}
MapObject& Value::map() const {
  return *static_cast<MapObject*>(object_);
}
Native& Value::native() const {
  return *static_cast<Native*>(object_);
}

std::string Value::undefined_hint() const {
  return object_ ? std::string(text().view()) : "the value is undefined";
}

Eval<void> ListObject::push(Value value) {
  LM_CHECK(charge(2 * sizeof(Value)));  // twice: vectors grow by doubling
  items.push_back(std::move(value));
  return {};
}

std::optional<std::size_t> MapObject::position(const std::string& key) const {
  if (entries.size() > kIndexFrom) {
    const auto found = index_.find(key);
    return found == index_.end() ? std::nullopt : std::optional(found->second);
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (key_of(entries[i].key) == key) {
      return i;
    }
  }
  return std::nullopt;
}

const Value* MapObject::find(std::string_view text_key) const {
  if (entries.size() > kIndexFrom) {
    const auto at = position("s" + std::string(text_key));
    return at ? &entries[*at].value : nullptr;
  }
  for (const Entry& entry : entries) {
    if (entry.key.is(Kind::text) && entry.key.view() == text_key) {
      return &entry.value;
    }
  }
  return nullptr;
}

const Value* MapObject::find(const Value& key) const {
  if (key.is(Kind::text)) {
    return find(key.view());
  }
  const auto spelt = key_of(key);
  const auto at = spelt ? position(*spelt) : std::nullopt;
  return at ? &entries[*at].value : nullptr;
}

Eval<void> MapObject::set(const Value& key, Value value) {
  auto spelt = key_of(key);
  if (!spelt) {
    return budget().fail("unhashable type: '" + std::string(type_name(key)) + "'");
  }
  if (const auto at = position(*spelt)) {
    entries[*at].value = std::move(value);
    return {};
  }
  LM_CHECK(charge(2 * sizeof(Entry) + sizeof(std::string) + 48 + spelt->size()));
  entries.push_back({key, std::move(value)});
  if (entries.size() == kIndexFrom + 1) {
    for (std::size_t i = 0; i < kIndexFrom; ++i) {
      index_.emplace(*key_of(entries[i].key), i);
    }
  }
  if (entries.size() > kIndexFrom) {
    index_.emplace(std::move(*spelt), entries.size() - 1);
  }
  return {};
}

bool MapObject::erase(const Value& key) {
  const auto spelt = key_of(key);
  const auto at = spelt ? position(*spelt) : std::nullopt;
  if (!at) {
    return false;
  }
  entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(*at));
  index_.clear();
  for (std::size_t i = 0; entries.size() > kIndexFrom && i < entries.size(); ++i) {
    index_.emplace(*key_of(entries[i].key), i);
  }
  return true;
}

void MapObject::clear() {
  index_.clear();
  std::vector<Entry>().swap(entries);
}

Eval<std::optional<Value>> Native::attribute(Interpreter&, std::string_view) {
  return std::optional<Value>();
}

Eval<Value> make_text(Budget& budget, Text text) {
  Ref<TextObject> object;
  LM_CHECK(budget.charge(sizeof(TextObject)));
  budget.give_back(sizeof(TextObject));
  object = Ref<TextObject>(new TextObject(budget));
  LM_CHECK(object->charge(sizeof(TextObject) + text.size() + 4 * text.switches().size()));
  object->text = std::move(text);
  return Value::object(Kind::text, object.get());
}

Eval<Value> make_text(Budget& budget, std::string_view bytes, Origin origin) {
  LM_CHECK(budget.charge(bytes.size()));
  budget.give_back(bytes.size());
  return make_text(budget, Text(std::string(bytes), origin));
}

Eval<Ref<ListObject>> make_list(Budget& budget, ListObject::Flavour flavour, std::size_t reserve) {
  const std::uint64_t bytes = sizeof(ListObject) + 2 * sizeof(Value) * reserve;
  LM_CHECK(budget.charge(bytes));
  budget.give_back(bytes);
  Ref<ListObject> list(new ListObject(budget));
  LM_CHECK(list->charge(sizeof(ListObject)));
  list->flavour = flavour;
  list->items.reserve(reserve);
  return list;
}

Eval<Ref<MapObject>> make_map(Budget& budget) {
  LM_CHECK(budget.charge(sizeof(MapObject)));
  budget.give_back(sizeof(MapObject));
  Ref<MapObject> map(new MapObject(budget));
  LM_CHECK(map->charge(sizeof(MapObject)));
  return map;
}

Value make_undefined(Budget& budget, std::string hint) {
  // A hint that no longer fits is left out: the value is as undefined without it.
  auto text = make_text(budget, hint);
  return text ? Value::object(Kind::undefined, text->heap_object()) : Value();
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.as_integer() != 0;
    case Kind::real:
      return value.as_double() != 0.0;
    case Kind::text:
      return !value.text().empty();
    case Kind::list:
      return value.list().flavour == ListObject::Flavour::lazy || !value.list().items.empty();
    case Kind::map:
      return value.map().is_namespace || !value.map().entries.empty();
    case Kind::native:
      return true;
  }
  return false;
}

std::string_view type_name(const Value& value) {
  using Flavour = ListObject::Flavour;
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::text:
      return value.text().markup ? "Markup" : "str";
    case Kind::list:
      switch (value.list().flavour) {
        case Flavour::list:
          return "list";
        case Flavour::tuple:
        case Flavour::group:
          return "tuple";
        case Flavour::range:
          return "range";
        case Flavour::lazy:
          return "generator";
        case Flavour::keys:
          return "dict_keys";
        case Flavour::values:
          return "dict_values";
        case Flavour::items:
          return "dict_items";
      }
      return "list";
    case Kind::map:
      return value.map().is_namespace ? "Namespace" : "dict";
    case Kind::native:
      return "function";
  }
  return "object";
}

std::optional<std::string> key_of(const Value& key) {
  switch (key.kind()) {
    case Kind::text:
      return "s" + std::string(key.view());
    case Kind::boolean:
    case Kind::integer:
      return "n" + std::to_string(key.as_integer());
    case Kind::real: {
      const double number = key.as_double();
      constexpr double kLimit = 9.2e18;
      if (number == std::floor(number) && number > -kLimit && number < kLimit) {
        return "n" + std::to_string(static_cast<std::int64_t>(number));
      }
      return "f" + std::string(reinterpret_cast<const char*>(&number), sizeof(number));
    }
    case Kind::none:
      return "0";
    case Kind::undefined:
      return "u";
    case Kind::native:
      return "p" + std::to_string(reinterpret_cast<std::uintptr_t>(key.heap_object()));
    case Kind::list: {
      const ListObject& list = key.list();
      if (list.flavour != ListObject::Flavour::tuple) {
        return std::nullopt;
      }
      std::string spelt = "t";
      for (const Value& item : list.items) {
        // One level is all that templates use; more would make this recursive.
        const auto part = item.is(Kind::list) ? std::nullopt : key_of(item);
        if (!part) {
          return std::nullopt;
        }
        spelt += std::to_string(part->size()) + ":" + *part;
      }
      return spelt;
    }
    case Kind::map:
      return std::nullopt;
  }
  return std::nullopt;
}

Eval<bool> equal(Budget& budget, const Value& a, const Value& b) {
  LM_CHECK(budget.step());
  if (a.is_number() && b.is_number()) {
    return compare_numbers(a, b) == 0;
  }
  if (a.kind() != b.kind()) {
    return false;
  }
  switch (a.kind()) {
    case Kind::text:
      LM_CHECK(budget.step_bytes(std::min(a.text().size(), b.text().size())));
      return a.view() == b.view();
    case Kind::list: {
      const ListObject& x = a.list();
      const ListObject& y = b.list();
      if (&x == &y) {
        return true;
      }
      if (!same_sort_of_list(x, y) || x.items.size() != y.items.size()) {
        return false;
      }
      LM_NESTED(budget);
      for (std::size_t i = 0; i < x.items.size(); ++i) {
        LM_TRY(const bool same, equal(budget, x.items[i], y.items[i]));
        if (!same) {
          return false;
        }
      }
      return true;
    }
    case Kind::map: {
      const MapObject& x = a.map();
      const MapObject& y = b.map();
      if (&x == &y) {
        return true;
      }
      if (x.is_namespace || y.is_namespace || x.entries.size() != y.entries.size()) {
        return false;
      }
      LM_NESTED(budget);
      for (const MapObject::Entry& entry : x.entries) {
        const Value* other = y.find(entry.key);
        if (!other) {
          return false;
        }
        LM_TRY(const bool same, equal(budget, entry.value, *other));
        if (!same) {
          return false;
        }
      }
      return true;
    }
    case Kind::native:
      return a.heap_object() == b.heap_object();
    default:
      return true;  // undefined and none equal themselves
  }
}

Eval<bool> less(Budget& budget, const Value& a, const Value& b) {
  LM_CHECK(budget.step());
  if (a.is_number() && b.is_number()) {
    return compare_numbers(a, b) == -1;
  }
  if (a.is(Kind::text) && b.is(Kind::text)) {
    LM_CHECK(budget.step_bytes(std::min(a.text().size(), b.text().size())));
    return a.view() < b.view();  // UTF-8 sorts as its code points do
  }
  if (a.is(Kind::list) && b.is(Kind::list) && same_sort_of_list(a.list(), b.list())) {
    LM_NESTED(budget);
    const auto& x = a.list().items;
    const auto& y = b.list().items;
    for (std::size_t i = 0; i < x.size() && i < y.size(); ++i) {
      LM_TRY(const bool same, equal(budget, x[i], y[i]));
      if (!same) {
        return less(budget, x[i], y[i]);
      }
    }
    return x.size() < y.size();
  }
  for (const Value* side : {&a, &b}) {
    if (side->is(Kind::undefined)) {
      return budget.fail(side->undefined_hint());
    }
  }
  return budget.fail("'<' not supported between instances of '" + std::string(type_name(a)) +
                     "' and '" + std::string(type_name(b)) + "'");
}

}  // namespace lm::jinja
