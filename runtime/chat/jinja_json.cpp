// JSON becomes values without a tree in between: the parser calls back, each value is charged as it
// is made.
#include <limits>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/chat/jinja_print.h"

namespace lm::jinja {

namespace {

constexpr std::size_t kMaxDepth = 128;

class Reader {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  Reader(Budget& budget, Origin origin) : budget_(budget), origin_(origin) {}

  bool null() { return put(Value::none()); }
  bool boolean(bool value) { return put(Value::boolean(value, origin_)); }
  bool number_integer(number_integer_t value) { return put(Value::integer(value, origin_)); }
  bool number_unsigned(number_unsigned_t value) {
    constexpr auto kMax = static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max());
    return value > kMax ? put(Value::real(static_cast<double>(value), origin_))
                        : put(Value::integer(static_cast<std::int64_t>(value), origin_));
  }
  bool number_float(number_float_t value, const string_t&) {
    return put(Value::real(value, origin_));
  }
  bool string(string_t& value) { return put(make_text(budget_, value, origin_)); }
  bool binary(binary_t&) { return false; }

  bool start_object(std::size_t) {
    auto map = make_map(budget_);
    return open(map ? Eval<Value>(to_value(*map)) : std::unexpected(std::move(map).error()));
  }
  bool key(string_t& value) {
    auto text = make_text(budget_, value, origin_);
    if (!text) {
      return refuse(std::move(text).error());
    }
    keys_.back() = std::move(*text);
    return true;
  }
  bool end_object() { return close(); }
  bool start_array(std::size_t) {
    auto list = make_list(budget_);
    return open(list ? Eval<Value>(to_value(*list)) : std::unexpected(std::move(list).error()));
  }
  bool end_array() { return close(); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    return refuse(
        std::move(budget_.fail("JSON: syntax error at byte " + std::to_string(position))).error());
  }

  Eval<Value> finish(bool parsed) {
    if (failure_) {
      return std::unexpected(std::move(failure_));
    }
    if (!parsed) {
      return budget_.fail("JSON: not a value");
    }
    return std::move(root_);
  }

 private:
  bool refuse(std::unique_ptr<Failure> failure) {
    failure_ = std::move(failure);
    return false;
  }

  bool put(Eval<Value> value) {
    if (!value) {
      return refuse(std::move(value).error());
    }
    if (auto step = budget_.step(); !step) {
      return refuse(std::move(step).error());
    }
    if (open_.empty()) {
      root_ = std::move(*value);
      return true;
    }
    const Value& parent = open_.back();
    Eval<void> added = parent.is(Kind::map) ? parent.map().set(keys_.back(), std::move(*value))
                                            : parent.list().push(std::move(*value));
    return added ? true : refuse(std::move(added).error());
  }

  bool open(Eval<Value> container) {
    if (container && open_.size() >= kMaxDepth) {
      container = budget_.fail("JSON: nested deeper than " + std::to_string(kMaxDepth));
    }
    Value opened = container ? *container : Value();
    if (!put(std::move(container))) {
      return false;
    }
    open_.push_back(std::move(opened));
    keys_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  Budget& budget_;
  Origin origin_;
  Value root_;
  std::vector<Value> open_, keys_;
  std::unique_ptr<Failure> failure_;
};

}  // namespace

Eval<Value> read_json(Budget& budget, std::string_view text, Origin origin) {
  Reader reader(budget, origin);
  const bool parsed = nlohmann::json::sax_parse(text, &reader);
  return reader.finish(parsed);
}

}  // namespace lm::jinja
