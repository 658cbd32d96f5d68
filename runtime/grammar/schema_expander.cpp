#include "runtime/grammar/schema_expander.h"

#include <algorithm>
#include <bit>

#include <nlohmann/json.hpp>

namespace lm::grammar {
namespace {

constexpr std::size_t kMaxSplits = 6;

/// Value of a JSON string that the lexer has let through.
std::string string_value(const std::string& text) {
  return nlohmann::json::parse(text).get<std::string>();
}

/// Saturating narrowing for counters.
std::uint32_t capped(std::uint64_t n) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(n, kUnbounded));
}

}  // namespace

SchemaExpander::SchemaExpander(SchemaLanguage& language, Lexer& lexer)
    : language_(language), lexer_(lexer) {
  RegexPool& pool = language.pool();
  CodeSet blanks = CodeSet::single(U' ');
  blanks.add(CodeSet::single(U'\t'));
  const NodeId line_end = pool.concat(pool.optional(pool.literal(U"\r")), pool.literal(U"\n"));
  const NodeId space =
      pool.concat(pool.repeat(pool.set(blanks), 0, 2),
                  pool.optional(pool.concat(pool.repeat(line_end, 1, 2),
                                            pool.repeat(pool.set(blanks), 0, 80))));
  const auto lexeme = [&](bool before, char32_t c, bool after) {
    return lexer.text(
        pool.concat(before ? space : RegexPool::kEmpty,
                    pool.concat(pool.set(CodeSet::single(c)), after ? space : RegexPool::kEmpty)));
  };
  open_array_ = lexeme(false, U'[', true);
  close_array_ = lexeme(false, U']', false);
  close_array_after_ = lexeme(true, U']', false);
  open_object_ = lexeme(false, U'{', true);
  close_object_ = lexeme(false, U'}', false);
  close_object_after_ = lexeme(true, U'}', false);
  comma_ = lexeme(true, U',', true);
  colon_ = lexeme(true, U':', true);
  space_ = lexer.text(space);

  // How numbers are written: bounded digits, at most two zeros at a fraction's end.
  const NodeId digit = pool.set(CodeSet::range(U'0', U'9'));
  const NodeId nonzero = pool.set(CodeSet::range(U'1', U'9'));
  const NodeId zero = pool.literal(U"0");
  const NodeId point = pool.literal(U".");
  const NodeId whole =
      pool.concat(pool.optional(pool.literal(U"-")),
                  pool.alt({zero, pool.concat(nonzero, pool.repeat(digit, 0, 63))}));
  const NodeId fraction =
      pool.concat(point, pool.alt({pool.repeat(zero, 1, 2),
                                   pool.concat(pool.repeat(digit, 0, 31),
                                               pool.concat(nonzero, pool.repeat(zero, 0, 2)))}));
  CodeSet e = CodeSet::single(U'e');
  e.add(CodeSet::single(U'E'));
  CodeSet sign = CodeSet::single(U'+');
  sign.add(CodeSet::single(U'-'));
  number_style_ = pool.concat(whole, pool.optional(fraction));
  integer_style_ = pool.concat(whole, pool.optional(pool.literal(U".0")));
  exponent_style_ =
      pool.concat(number_style_, pool.concat(pool.set(e), pool.concat(pool.optional(pool.set(sign)),
                                                                      pool.repeat(digit, 1, 3))));
}

StackId SchemaExpander::document(Machine& machine) {
  const StackId after = machine.push(begin, space_, 0, 0);
  const StackId root = machine.push(value, language_.root(), 0, after);
  return machine.push(begin, space_, 0, root);
}

std::uint32_t SchemaExpander::intern(State state) {
  const auto [at, fresh] =
      state_ids_.try_emplace(std::move(state), static_cast<std::uint32_t>(states_.size()));
  if (fresh) {
    language_.pool().budget().memory(at->first.size() * 8 + 120);
    states_.push_back(at->first);
  }
  return at->second;
}

const SchemaExpander::ValueLexemes& SchemaExpander::lexemes(ExprId id) {
  const auto [at, fresh] = lexemes_.try_emplace(id);
  if (!fresh) {
    return at->second;
  }
  RegexPool& pool = language_.pool();
  const Normal& n = language_.normal(id);
  std::vector<NodeId> scalars;
  for (const auto& [allowed, text] :
       {std::pair(n.null, U"null"), std::pair(n.yes, U"true"), std::pair(n.no, U"false")}) {
    if (allowed) {
      scalars.push_back(pool.literal(text));
    }
  }
  if (n.exponents) {
    scalars.push_back(exponent_style_);
  }
  if (n.number == language_.algebra().any_number()) {
    scalars.push_back(number_style_);
  } else if (n.number == language_.algebra().any_integer()) {
    scalars.push_back(integer_style_);
  } else if (n.number != RegexPool::kNone) {
    scalars.push_back(pool.both({n.number, number_style_}));
  }
  ValueLexemes& out = at->second;
  out.scalar = lexer_.text(pool.alt(std::move(scalars)));
  out.string = lexer_.json_string({{0, n.string}});
  for (const ArrayClause& clause : n.arrays) {
    out.arrays.push_back(static_cast<std::uint32_t>(array_clauses_.size()));
    array_clauses_.push_back(&clause);
  }
  for (const ObjectClause& clause : n.objects) {
    out.objects.push_back(static_cast<std::uint32_t>(object_clauses_.size()));
    object_clauses_.push_back(&clause);
  }
  return out;
}

void SchemaExpander::expand(Machine& machine, const Frame& frame, std::int32_t tag,
                            std::uint32_t text, std::vector<StackId>& out) {
  switch (frame.kind) {
    case begin:
      machine.push_lexeme(frame.a, frame.parent, out);
      return;
    case value: {
      const ValueLexemes& starts = lexemes(frame.a);
      machine.push_lexeme(starts.scalar, frame.parent, out);
      machine.push_lexeme(starts.string, frame.parent, out);
      for (const std::uint32_t clause : starts.arrays) {
        const ArrayPlan& plan = array_plan(clause);
        if (plan.clause->least <= plan.reach) {
          const std::uint32_t state = intern(State(1 + plan.clause->contains.size(), 0));
          if (!array_closes(plan, states_[state]) &&
              items(array_plan(clause), State(states_[state])).empty()) {
            continue;
          }
          machine.push_lexeme(open_array_, machine.push(array_first, clause, state, frame.parent),
                              out);
        }
      }
      for (const std::uint32_t clause : starts.objects) {
        ObjectPlan& plan = object_plan(clause);
        const std::uint32_t state = intern(State((plan.literals + 31) / 32 + 3, 0));
        if (object_closes(plan, states_[state]) || names(plan, State(states_[state])) != kDead) {
          machine.push_lexeme(open_object_, machine.push(object_first, clause, state, frame.parent),
                              out);
        }
      }
      return;
    }
    case array_first:
    case array_after:
    case array_next:
      expand_array(machine, frame, out);
      return;
    default:
      expand_object(machine, frame, tag, text, out);
      return;
  }
}

// State of an array: items read (as far as they matter), then one count for each `contains`.

SchemaExpander::ArrayPlan& SchemaExpander::array_plan(std::uint32_t clause) {
  const auto [at, fresh] = array_plans_.try_emplace(clause);
  ArrayPlan& plan = at->second;
  if (fresh) {
    plan.clause = array_clauses_[clause];
    const ArrayClause& c = *plan.clause;
    plan.reach = c.most;
    for (std::size_t i = 0; i < c.prefix.size() && i < plan.reach; ++i) {
      if (!language_.inhabited(c.prefix[i])) {
        plan.reach = i;
      }
    }
    if (plan.reach > c.prefix.size() && !language_.inhabited(c.rest)) {
      plan.reach = c.prefix.size();
    }
  }
  return plan;
}

bool SchemaExpander::array_closes(const ArrayPlan& plan, const State& state) const {
  const ArrayClause& c = *plan.clause;
  for (std::size_t i = 0; i < c.contains.size(); ++i) {
    if (state[1 + i] < c.contains[i].least) {
      return false;
    }
  }
  return state[0] >= c.least;
}

std::vector<SchemaExpander::NextValue> SchemaExpander::items(ArrayPlan& plan, const State& state) {
  const ArrayClause& c = *plan.clause;
  const std::uint64_t at = state[0];
  if (at >= plan.reach) {
    return {};
  }
  // Positions behind which nothing changes any more are one.
  std::uint64_t last = std::max<std::uint64_t>(c.least, c.prefix.size());
  for (const Contains& contains : c.contains) {
    last = std::max(last, contains.from);
  }
  const std::uint64_t next_at = plan.reach == kNoLimit ? std::min(at + 1, last) : at + 1;
  const std::uint64_t room = plan.reach == kNoLimit ? kNoLimit : plan.reach - at - 1;
  const ExprId base = at < c.prefix.size() ? c.prefix[at] : c.rest;
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < c.contains.size(); ++i) {
    const Contains& contains = c.contains[i];
    if (at >= contains.from && (contains.most != kNoLimit || state[1 + i] < contains.least)) {
      open.push_back(i);
    }
  }
  if (open.size() > kMaxSplits) {
    language_.pool().budget().spend("counts items in more than six ways at once");
    return {};
  }
  std::vector<NextValue> out;
  for (std::uint32_t choice = 0; choice < 1u << open.size(); ++choice) {
    State next = state;
    next[0] = capped(next_at);
    std::vector<ExprId> demands = {base};
    bool possible = true;
    for (std::size_t k = 0; k < open.size(); ++k) {
      const Contains& contains = c.contains[open[k]];
      std::uint32_t& count = next[1 + open[k]];
      if ((choice >> k & 1) != 0) {
        demands.push_back(contains.value);
        ++count;
        possible = possible && count <= contains.most;
      } else if (contains.most != kNoLimit) {
        demands.push_back(language_.exprs().complement(contains.value));
      }
    }
    for (std::size_t i = 0; i < c.contains.size(); ++i) {
      possible = possible &&
                 (next[1 + i] >= c.contains[i].least || c.contains[i].least - next[1 + i] <= room);
    }
    if (!possible) {
      continue;
    }
    const ExprId item = language_.exprs().both(std::move(demands));
    if (language_.inhabited(item)) {
      out.push_back({item, intern(std::move(next))});
    }
  }
  return out;
}

void SchemaExpander::expand_array(Machine& machine, const Frame& frame, std::vector<StackId>& out) {
  ArrayPlan& plan = array_plan(frame.a);
  const State state = states_[frame.b];
  if (frame.kind != array_next && array_closes(plan, state)) {
    machine.push_lexeme(frame.kind == array_first ? close_array_ : close_array_after_, frame.parent,
                        out);
  }
  const std::vector<NextValue> next = items(plan, state);
  if (frame.kind == array_after) {
    if (!next.empty()) {
      machine.push_lexeme(comma_, machine.push(array_next, frame.a, frame.b, frame.parent), out);
    }
    return;
  }
  for (const NextValue& item : next) {
    out.push_back(machine.push(value, item.value, 0,
                               machine.push(array_after, frame.a, item.state, frame.parent)));
  }
}

// State of an object: bits of the literal names it has; then the number of its properties, bits of
// the `some` that are satisfied, and the set of its other names.

SchemaExpander::ObjectPlan& SchemaExpander::object_plan(std::uint32_t clause) {
  const auto [at, fresh] = object_plans_.try_emplace(clause);
  ObjectPlan& plan = at->second;
  if (fresh) {
    plan.clause = object_clauses_[clause];
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
  return names.empty() || !names.contains(string_value(text));
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
    if (!names.insert(string_value(machine.recorded(text))).second) {
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
  if (frame.kind == object_name) {
    for (const NextValue& member : members(machine, plan, state, tag, text)) {
      const StackId after = machine.push(object_after, frame.a, member.state, frame.parent);
      machine.push_lexeme(colon_, machine.push(value, member.value, 0, after), out);
    }
    return;
  }
  if (frame.kind != object_next && object_closes(plan, state)) {
    machine.push_lexeme(frame.kind == object_first ? close_object_ : close_object_after_,
                        frame.parent, out);
  }
  const ByteState next = names(plan, state);
  if (next == kDead) {
    return;
  }
  if (frame.kind == object_after) {
    machine.push_lexeme(comma_, machine.push(object_next, frame.a, frame.b, frame.parent), out);
  } else {
    machine.push_lexeme(next, machine.push(object_name, frame.a, frame.b, frame.parent), out,
                        plan.tracks ? 1 : 0);
  }
}

}  // namespace lm::grammar
