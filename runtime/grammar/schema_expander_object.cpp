// Objects as frames of the automaton. Their state: bits of the literal names they have; then the
// number of their properties, bits of the `some` that are satisfied, and the set of their other
// names.
#include <algorithm>
#include <bit>

#include <nlohmann/json.hpp>

#include "runtime/grammar/schema_expander.h"

namespace lm::grammar {
namespace {

constexpr std::size_t kMaxSplits = 6;

/// Value of the JSON string that ends `text`; the lexer has let it through.
std::string last_string(const std::string& text) {
  std::size_t begin = text.size() - 1;
  const auto escaped = [&](std::size_t at) {
    std::size_t n = 0;
    while (n < at && text[at - 1 - n] == '\\') {
      ++n;
    }
    return n % 2 != 0;
  };
  do {
    begin = begin == 0 ? 0 : text.rfind('"', begin - 1);
  } while (begin != 0 && begin != std::string::npos && escaped(begin));
  return nlohmann::json::parse(text.substr(begin == std::string::npos ? 0 : begin))
      .get<std::string>();
}

std::uint32_t capped(std::uint64_t n) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(n, kUnbounded));
}

}  // namespace

SchemaExpander::ObjectPlan& SchemaExpander::object_plan(std::uint32_t clause) {
  const auto [at, fresh] = object_plans_.try_emplace(clause);
  ObjectPlan& plan = at->second;
  if (fresh) {
    plan.clause = object_clauses_[clause];
    plan.any = language_.inhabited(*plan.clause);
    plan.classes = name_classes(language_.pool(), language_.exprs(), *plan.clause);
    for (const NameClass& c : plan.classes) {
      plan.literals += c.is_literal ? 1 : 0;
      plan.possible.push_back(language_.inhabited(c.value));
    }
    plan.counts = plan.clause->least > 0 || plan.clause->most != kNoLimit;
    plan.tracks = plan.classes.size() > plan.literals &&
                  (plan.clause->least > 1 || !plan.clause->some.empty());
  }
  return plan;
}

bool SchemaExpander::object_closes(const ObjectPlan& plan, const State& state) const {
  const std::size_t words = (plan.literals + 31) / 32;
  for (std::size_t i = 0; i < plan.literals; ++i) {
    if (plan.classes[i].required && (state[i / 32] >> (i % 32) & 1) == 0) {
      return false;
    }
  }
  return state[words] >= plan.clause->least &&
         static_cast<std::size_t>(std::popcount(state[words + 1])) == plan.clause->some.size();
}

/// The lexeme of the names that may come next; its tags are the classes.
ByteState SchemaExpander::names(ObjectPlan& plan, const State& state) {
  const std::size_t words = (plan.literals + 31) / 32;
  State key = state;
  key[words + 2] = 0;  // names already taken are checked when the name ends
  const auto [at, fresh] = plan.names.try_emplace(key, kDead);
  if (!fresh) {
    return at->second;
  }
  std::uint64_t missing = 0;
  for (std::size_t i = 0; i < plan.literals; ++i) {
    missing += plan.classes[i].required && (state[i / 32] >> (i % 32) & 1) == 0 ? 1 : 0;
  }
  const std::uint64_t most = plan.clause->most;
  const std::uint64_t room = most == kNoLimit ? kNoLimit : most - state[words];
  std::vector<Tagged> of;
  for (std::size_t i = 0; i < plan.classes.size() && room > 0; ++i) {
    const NameClass& c = plan.classes[i];
    const bool taken = c.is_literal && (state[i / 32] >> (i % 32) & 1) != 0;
    if (plan.possible[i] && !taken && (c.required || missing < room)) {
      of.push_back({static_cast<std::int32_t>(i), c.language});
    }
  }
  at->second = lexer_.json_string(std::move(of));
  return at->second;
}

const std::set<std::string>& SchemaExpander::names_had(const Frame& frame) {
  const std::size_t words = (object_plan(frame.a).literals + 31) / 32;
  return name_sets_[states_[frame.b][words + 2]];
}

bool SchemaExpander::allows(const Frame& frame, const std::string& text) {
  const std::set<std::string>& names = names_had(frame);
  return names.empty() || !names.contains(last_string(text));
}

std::vector<SchemaExpander::NextValue> SchemaExpander::members(Machine& machine, ObjectPlan& plan,
                                                               const State& state,
                                                               std::int32_t name_class,
                                                               std::uint32_t text) {
  const auto index = static_cast<std::size_t>(name_class);
  const NameClass& c = plan.classes[index];
  const std::size_t words = (plan.literals + 31) / 32;
  State next = state;
  if (c.is_literal) {
    next[index / 32] |= 1u << (index % 32);
  } else if (text != 0 && text != kAnyText) {
    std::set<std::string> names = name_sets_[state[words + 2]];
    if (!names.insert(last_string(machine.recorded(text))).second) {
      return {};
    }
    const auto [at, fresh] =
        name_set_ids_.try_emplace(names, static_cast<std::uint32_t>(name_sets_.size()));
    if (fresh) {
      language_.pool().budget().memory(names.size() * 100);
      name_sets_.push_back(std::move(names));
    }
    next[words + 2] = at->second;
  }
  if (plan.counts) {
    const std::uint64_t limit =
        plan.clause->most == kNoLimit ? plan.clause->least : plan.clause->most;
    next[words] = capped(std::min<std::uint64_t>(state[words] + 1u, limit));
  }
  std::vector<NextValue> out = {{c.value, intern(next)}};
  for (std::uint32_t i = 0; i < plan.clause->some.size(); ++i) {
    if ((c.some >> i & 1) == 0 || (state[words + 1] >> i & 1) != 0) {
      continue;
    }
    // Each way so far, once more with this demand met.
    for (std::size_t k = 0, n = out.size(); k < n && out.size() < 1u << kMaxSplits; ++k) {
      const ExprId both = language_.exprs().both({out[k].value, plan.clause->some[i].second});
      if (language_.inhabited(both)) {
        State met = states_[out[k].state];
        met[words + 1] |= 1u << i;
        out.push_back({both, intern(std::move(met))});
      }
    }
  }
  return out;
}

void SchemaExpander::expand_object(Machine& machine, const Frame& frame, std::int32_t tag,
                                   std::uint32_t text, std::vector<StackId>& out) {
  ObjectPlan& plan = object_plan(frame.a);
  const State state = states_[frame.b];
  const std::uint8_t records = frame.kind & kRecords;
  const std::uint32_t carried = records != 0 ? text : 0;
  const int kind = frame.kind & ~kRecords;
  if (kind == object_name) {
    for (const NextValue& member : members(machine, plan, state, tag, text)) {
      const StackId after =
          machine.push(object_after | records, frame.a, member.state, frame.parent);
      machine.push_lexeme(colon_, machine.push(value | records, member.value, 0, after), out,
                          carried);
    }
    return;
  }
  if (kind != object_next && object_closes(plan, state)) {
    machine.push_lexeme(kind == object_first ? close_object_ : close_object_after_, frame.parent,
                        out, carried);
  }
  const ByteState next = names(plan, state);
  if (next == kDead) {
    return;
  }
  if (kind == object_after) {
    machine.push_lexeme(comma_, machine.push(object_next | records, frame.a, frame.b, frame.parent),
                        out, carried);
  } else {
    machine.push_lexeme(next, machine.push(object_name | records, frame.a, frame.b, frame.parent),
                        out,
                        records != 0  ? carried
                        : plan.tracks ? kNoText
                                      : 0);
  }
}

}  // namespace lm::grammar
