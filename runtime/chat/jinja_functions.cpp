#include "runtime/chat/jinja_functions.h"

#include <algorithm>
#include <unordered_map>

#include "runtime/chat/jinja_eval.h"

namespace lm::jinja {

namespace {

using Table = std::unordered_map<std::string_view, const Function*>;

Table index(std::initializer_list<std::span<const Function>> parts) {
  Table table;
  for (const auto part : parts) {
    for (const Function& row : part) {
      table.emplace(row.name, &row);
    }
  }
  return table;
}

const Function* find(const Table& table, std::string_view name) {
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t blank = std::min(text.find(' '), text.size());
    out.push_back(text.substr(0, blank));
    text.remove_prefix(std::min(text.size(), blank + 1));
  }
  return out;
}

}  // namespace

const Function* find_filter(std::string_view name) {
  static const Table table =
      index({text_filters(), number_filters(), list_filters(), selection_filters()});
  return find(table, name);
}

const Function* find_test(std::string_view name) {
  static const Table table = index({is_tests()});
  return find(table, name);
}

const Function* find_method(const Value& self, std::string_view name) {
  static const Table texts = index({text_methods(), text_query_methods()});
  static const Table lists = index({list_methods()});
  static const Table maps = index({map_methods()});
  switch (self.kind()) {
    case Kind::text:
      return find(texts, name);
    case Kind::list: {
      using Flavour = ListObject::Flavour;
      const Flavour flavour = self.list().flavour;
      const bool reads = name == "index" || name == "count";
      const bool tuple =
          flavour == Flavour::tuple || flavour == Flavour::group || flavour == Flavour::range;
      return flavour == Flavour::list || (tuple && reads) ? find(lists, name) : nullptr;
    }
    case Kind::map:
      return self.map().is_namespace ? nullptr : find(maps, name);
    default:
      return nullptr;
  }
}

std::unexpected<std::unique_ptr<Failure>> Call::fail(const std::string& message) const {
  return budget.fail(std::string(function.name) + ": " + message);
}

Eval<std::int64_t> Call::integer(std::size_t i, std::int64_t fallback) const {
  if (!has(i)) {
    return fallback;
  }
  if (!at(i).is_integral()) {
    return fail("an integer is expected, not " + std::string(type_name(at(i))));
  }
  return at(i).as_integer();
}

Eval<const Text*> Call::text(std::size_t i) const {
  if (is_none(i)) {
    return nullptr;
  }
  if (!at(i).is(Kind::text)) {
    return fail("a string is expected, not " + std::string(type_name(at(i))));
  }
  return &at(i).text();
}

Eval<Value> run_function(Interpreter& interpreter, const Function& function, const Value& self,
                         Arguments arguments) {
  Budget& budget = interpreter.budget();
  LM_CHECK(budget.step());
  const auto parameters = words(function.parameters);
  Call call{interpreter, budget, function, self, {}, {}};
  call.arguments.resize(parameters.size());
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < parameters.size()) {
      call.arguments[i] = std::move(arguments.positional[i]);
    } else if (function.variadic) {
      call.rest.positional.push_back(std::move(arguments.positional[i]));
    } else {
      return call.fail("at most " + std::to_string(parameters.size()) +
                       " arguments are taken, not " + std::to_string(arguments.positional.size()));
    }
  }
  for (auto& [name, value] : arguments.named) {
    const auto at =
        static_cast<std::size_t>(std::ranges::find(parameters, name) - parameters.begin());
    if (at < parameters.size()) {
      if (call.arguments[at]) {
        return call.fail("two values for '" + name + "'");
      }
      call.arguments[at] = std::move(value);
    } else if (function.variadic) {
      call.rest.named.emplace_back(name, std::move(value));
    } else {
      return call.fail("there is no argument '" + name + "'");
    }
  }
  for (std::size_t i = 0; i < function.required; ++i) {
    if (!call.arguments[i]) {
      const std::string_view name = parameters[i];
      return call.fail("argument '" + std::string(name.substr(name.starts_with('/') ? 1 : 0)) +
                       "' is missing");
    }
  }
  return function.run(call);
}

}  // namespace lm::jinja
