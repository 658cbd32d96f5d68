/// Values of the template language: undefined, none, bool, int (64 bits), float, text, list, map,
/// and objects of ours that can be called or asked for attributes. Nothing else exists: no file, no
/// network, no environment, no class.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/chat/jinja_text.h"

namespace lm::jinja {

class Interpreter;
struct Arguments;
class Value;
struct TextObject;
struct ListObject;
struct MapObject;
class Native;

/// What lives on the heap of a render: counted references, not shared between threads. Objects are
/// deleted one after the other, never recursively: a list nested 100,000 deep must not use up the
/// stack.
class Object {
 public:
  explicit Object(Budget& budget) : budget_(&budget) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() { budget_->give_back(charged_); }

  void retain() { ++references_; }
  void release();

  Budget& budget() const { return *budget_; }
  /// Charges what this object is about to grow by; given back when it dies.
  Eval<void> charge(std::uint64_t bytes);

 private:
  Budget* budget_;
  Object* next_dead_ = nullptr;
  std::uint64_t charged_ = 0;
  std::uint32_t references_ = 0;
};

/// A counted reference to an object.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    if (object_) {
      object_->retain();
    }
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) {
      object_->release();
    }
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

enum class Kind : std::uint8_t { undefined, none, boolean, integer, real, text, list, map, native };

class Value {
 public:
  Value() = default;  ///< undefined
  static Value none() { return Value(Kind::none); }
  static Value boolean(bool value, Origin origin = Origin::literal);
  static Value integer(std::int64_t value, Origin origin = Origin::literal);
  static Value real(double value, Origin origin = Origin::literal);
  static Value object(Kind kind, Object* object);

  Value(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(Value other) noexcept;
  ~Value();

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  /// bool counts as a number, as in Python.
  bool is_integral() const { return is(Kind::integer) || is(Kind::boolean); }
  bool is_number() const { return is_integral() || is(Kind::real); }

  /// Where a number or bool came from. Texts know it byte by byte.
  Origin origin() const { return origin_; }

  bool as_bool() const { return integer_ != 0; }
  std::int64_t as_integer() const { return integer_; }  ///< of an integral value
  double as_double() const;                             ///< of a number
  const Text& text() const;
  std::string_view view() const { return text().view(); }
  ListObject& list() const;
  MapObject& map() const;
  Native& native() const;
  Object* heap_object() const { return object_; }  ///< null for scalars

  /// "'x' is undefined": why an undefined value is undefined; empty when nobody said.
  std::string undefined_hint() const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::undefined;
  Origin origin_ = Origin::literal;
  Object* object_ = nullptr;
  union {
    std::int64_t integer_ = 0;
    double real_;
  };
};

struct TextObject : Object {
  using Object::Object;
  Text text;
};

/// Python has many things that behave like lists; they differ in what they print and allow.
struct ListObject : Object {
  enum class Flavour : std::uint8_t {
    list,
    tuple,
    group,  ///< the pair that `groupby` gives: `.grouper` and `.list`
    range,  ///< immutable, prints as range(...)
    lazy,   ///< a generator: always true, walked once
    keys,
    values,
    items,  ///< views of a map
  };
  using Object::Object;

  bool is_sequence() const { return flavour <= Flavour::range; }
  /// Charges and appends.
  Eval<void> push(Value value);

  Flavour flavour = Flavour::list;
  bool may_cycle = false;  ///< already known to the interpreter as possibly part of a cycle
  std::vector<Value> items;
  std::int64_t start = 0, stop = 0, stride = 1;  ///< of a range
};

/// Keys in order of insertion. Keys are equal when Python says so: 1, 1.0 and true are one key.
struct MapObject : Object {
  using Object::Object;
  struct Entry {
    Value key, value;
  };

  /// Null when absent. Keys that Python could not hash are an error of `key_of`, so of `set` only.
  const Value* find(std::string_view text_key) const;
  const Value* find(const Value& key) const;
  Eval<void> set(const Value& key, Value value);
  bool erase(const Value& key);
  void clear();

  bool is_namespace = false;
  bool may_cycle = false;
  std::vector<Entry> entries;

 private:
  std::optional<std::size_t> position(const std::string& key) const;
  std::unordered_map<std::string, std::size_t>
      index_;  ///< by key_of; built once there are more than a few
};

/// Macros, methods, functions, `loop`, joiners: what a template can call or ask, but not see into.
class Native : public Object {
 public:
  using Object::Object;
  virtual std::string describe() const = 0;
  virtual bool callable() const { return true; }
  virtual Eval<Value> call(Interpreter& interpreter, Arguments arguments) = 0;
  /// Nothing when there is no such attribute.
  virtual Eval<std::optional<Value>> attribute(Interpreter& interpreter, std::string_view name);
  /// What may hold a reference to this object itself is let go of.
  virtual void forget() {}
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

Eval<Value> make_text(Budget& budget, Text text);
Eval<Value> make_text(Budget& budget, std::string_view bytes, Origin origin = Origin::literal);
Eval<Ref<ListObject>> make_list(Budget& budget,
                                ListObject::Flavour flavour = ListObject::Flavour::list,
                                std::size_t reserve = 0);
Eval<Ref<MapObject>> make_map(Budget& budget);
Value make_undefined(Budget& budget, std::string hint);
inline Value to_value(const Ref<ListObject>& list) {
  return Value::object(Kind::list, list.get());
}
inline Value to_value(const Ref<MapObject>& map) {
  return Value::object(Kind::map, map.get());
}
template <class T>
Value to_native(const Ref<T>& object) {
  return Value::object(Kind::native, object.get());
}

/// Python's truth.
bool truth(const Value& value);
/// "str", "NoneType", "dict": for messages.
std::string_view type_name(const Value& value);
/// One spelling for all equal keys; nothing for what cannot be a key (lists, maps).
std::optional<std::string> key_of(const Value& key);

/// Python's ==.
Eval<bool> equal(Budget& budget, const Value& a, const Value& b);
/// Python's <; an error when the two have no order.
Eval<bool> less(Budget& budget, const Value& a, const Value& b);

}  // namespace lm::jinja
