// Functions that a template finds as variables.
#include <ctime>

#include "runtime/chat/jinja_eval.h"
#include "runtime/chat/jinja_objects.h"
#include "runtime/chat/jinja_print.h"

namespace lm::jinja {

namespace {

// The sandbox of Jinja2 has the same limit.
constexpr std::int64_t kMaxRange = 100'000;

Eval<Value> range(Interpreter& interpreter, Native*, Arguments arguments) {
  Budget& budget = interpreter.budget();
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) {
    return budget.fail("range: one to three integers are expected");
  }
  for (const Value& value : given) {
    if (!value.is_integral()) {
      return budget.fail("range: an integer is expected, not " + std::string(type_name(value)));
    }
  }
  const std::int64_t start = given.size() > 1 ? given[0].as_integer() : 0;
  const std::int64_t stop = given[given.size() > 1 ? 1 : 0].as_integer();
  const std::int64_t stride = given.size() > 2 ? given[2].as_integer() : 1;
  if (stride == 0) {
    return budget.fail("range: the step can't be zero");
  }
  LM_TRY(const Ref<ListObject> list, make_list(budget, ListObject::Flavour::range));
  list->start = start;
  list->stop = stop;
  list->stride = stride;
  for (std::int64_t i = start; stride > 0 ? i < stop : i > stop;) {
    if (list->items.size() >= static_cast<std::size_t>(kMaxRange)) {
      return budget.fail("range: more than " + std::to_string(kMaxRange) + " numbers");
    }
    LM_CHECK(budget.step());
    LM_CHECK(list->push(Value::integer(i)));
    if (__builtin_add_overflow(i, stride, &i)) {
      break;
    }
  }
  return to_value(list);
}

Eval<Ref<MapObject>> map_of(Interpreter& interpreter, Arguments& arguments) {
  LM_TRY(const Ref<MapObject> map, make_map(interpreter.budget()));
  const Function* update = find_method(to_value(map), "update");
  LM_CHECK(run_function(interpreter, *update, to_value(map), std::move(arguments)));
  return map;
}

Eval<Value> dict(Interpreter& interpreter, Native*, Arguments arguments) {
  LM_TRY(const Ref<MapObject> map, map_of(interpreter, arguments));
  return to_value(map);
}

Eval<Value> name_space(Interpreter& interpreter, Native*, Arguments arguments) {
  LM_TRY(const Ref<MapObject> map, map_of(interpreter, arguments));
  map->is_namespace = true;
  return to_value(map);
}

Eval<Value> raise_exception(Interpreter& interpreter, Native*, Arguments arguments) {
  Budget& budget = interpreter.budget();
  if (arguments.positional.size() != 1) {
    return budget.fail("raise_exception: one message is expected");
  }
  LM_TRY(const Value message, to_text(budget, arguments.positional.front()));
  return budget.fail(std::string(message.view()), ErrorCode::template_refused);
}

/// One conversion of strftime; nothing for those that are not known.
std::optional<std::string> convert_time(std::string_view conversion, const std::tm& time) {
  constexpr std::string_view kKnown = "aAbBcCdDeFgGhHIjklmMnprRsStTuUVwWxXyYzZ%";
  if (!kKnown.contains(conversion.back())) {
    return std::nullopt;
  }
  // A blank in front tells an empty result from a failure.
  const std::string format = " %" + std::string(conversion);
  char buffer[128];
  const std::size_t n = std::strftime(buffer, sizeof(buffer), format.c_str(), &time);
  return n == 0 ? std::nullopt : std::optional(std::string(buffer + 1, n - 1));
}

Eval<Value> strftime_now(Interpreter& interpreter, Native*, Arguments arguments) {
  Budget& budget = interpreter.budget();
  if (arguments.positional.size() != 1 || !arguments.positional.front().is(Kind::text)) {
    return budget.fail("strftime_now: one format string is expected");
  }
  const auto now = static_cast<std::time_t>(interpreter.now_unix() != 0 ? interpreter.now_unix()
                                                                        : std::time(nullptr));
  std::tm time{};
  localtime_r(&now, &time);
  const Text& format = arguments.positional.front().text();
  const std::string_view text = format.view();
  const Origin origin = format.has_data() ? Origin::data : Origin::literal;
  TextBuilder out(budget);
  for (std::size_t at = 0; at < text.size() && !out.failed(); ++at) {
    LM_CHECK(budget.step());
    if (text[at] != '%' || at + 1 >= text.size()) {
      out.append(text.substr(at, 1), origin);
      continue;
    }
    const std::size_t begin = ++at;
    constexpr std::string_view kFlags = "-_0^#";
    at += kFlags.contains(text[at]) && at + 1 < text.size() ? 1 : 0;
    if (text[at] == 'f') {
      out.append("000000", origin);  // the clock is read in whole seconds
      continue;
    }
    const auto converted = convert_time(text.substr(begin, at + 1 - begin), time);
    if (!converted) {
      return budget.fail("strftime_now: unknown conversion '%" + std::string(1, text[at]) + "'");
    }
    out.append(*converted, origin);
  }
  return out.finish();
}

/// Nothing at the first call, the separator from then on.
class Joiner : public Native {
 public:
  using Native::Native;
  std::string describe() const override { return "<joiner>"; }
  Eval<Value> call(Interpreter& interpreter, Arguments) override {
    return std::exchange(used, true) ? Eval<Value>(separator) : make_text(interpreter.budget(), "");
  }
  bool used = false;
  Value separator;
};

Eval<Value> joiner(Interpreter& interpreter, Native*, Arguments arguments) {
  Budget& budget = interpreter.budget();
  LM_CHECK(budget.charge(sizeof(Joiner)));
  budget.give_back(sizeof(Joiner));
  const Ref<Joiner> made(new Joiner(budget));
  LM_CHECK(made->charge(sizeof(Joiner)));
  if (!arguments.positional.empty()) {
    made->separator = arguments.positional.front();
  } else if (!arguments.named.empty()) {
    made->separator = arguments.named.front().second;
  } else {
    LM_TRY(made->separator, make_text(budget, ", "));
  }
  return to_native(made);
}

/// Goes round through its values.
class Cycler : public Native {
 public:
  using Native::Native;
  std::string describe() const override { return "<cycler>"; }
  bool callable() const override { return false; }
  Eval<Value> call(Interpreter& interpreter, Arguments) override {
    return interpreter.budget().fail("a cycler can't be called; use .next()");
  }
  Eval<std::optional<Value>> attribute(Interpreter& interpreter, std::string_view name) override {
    if (name == "current") {
      return std::optional(items[at]);
    }
    const auto bind = [&](FunctionObject::Run run) -> Eval<std::optional<Value>> {
      LM_CHECK(interpreter.budget().charge(sizeof(FunctionObject)));
      interpreter.budget().give_back(sizeof(FunctionObject));
      const Ref<FunctionObject> bound(
          new FunctionObject(interpreter.budget(), std::string(name), run, this));
      LM_CHECK(bound->charge(sizeof(FunctionObject)));
      return std::optional(to_native(bound));
    };
    if (name == "next") {
      return bind([](Interpreter&, Native* self, Arguments) -> Eval<Value> {
        auto& cycler = *static_cast<Cycler*>(self);
        const Value current = cycler.items[cycler.at];
        cycler.at = (cycler.at + 1) % cycler.items.size();
        return current;
      });
    }
    if (name == "reset") {
      return bind([](Interpreter&, Native* self, Arguments) -> Eval<Value> {
        static_cast<Cycler*>(self)->at = 0;
        return Value::none();
      });
    }
    return std::optional<Value>();
  }
  std::vector<Value> items;
  std::size_t at = 0;
};

Eval<Value> cycler(Interpreter& interpreter, Native*, Arguments arguments) {
  Budget& budget = interpreter.budget();
  if (arguments.positional.empty()) {
    return budget.fail("cycler: at least one value is expected");
  }
  const std::uint64_t bytes = sizeof(Cycler) + arguments.positional.size() * sizeof(Value);
  LM_CHECK(budget.charge(bytes));
  budget.give_back(bytes);
  const Ref<Cycler> made(new Cycler(budget));
  LM_CHECK(made->charge(bytes));
  made->items = std::move(arguments.positional);
  return to_native(made);
}

struct GlobalRow {
  const char* name;
  FunctionObject::Run run;
};
constexpr GlobalRow kGlobals[] = {
    {"cycler", cycler},
    {"dict", dict},
    {"joiner", joiner},
    {"namespace", name_space},
    {"raise_exception", raise_exception},
    {"range", range},
    {"strftime_now", strftime_now},
};

}  // namespace

void define_globals(Interpreter& interpreter) {
  for (const GlobalRow& row : kGlobals) {
    const Ref<FunctionObject> function(new FunctionObject(interpreter.budget(), row.name, row.run));
    interpreter.define(row.name, to_native(function));
  }
}

}  // namespace lm::jinja
