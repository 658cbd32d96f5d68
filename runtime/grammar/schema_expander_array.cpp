// Arrays as frames of the automaton. Their state: items read (as far as they matter), one count for
// each `contains`, and, where items must be told apart, the set of those read.
#include <algorithm>

#include "runtime/grammar/schema_expander.h"

namespace lm::grammar {
namespace {

constexpr std::size_t kMaxSplits = 6;
constexpr std::uint32_t kUnknownSet = 0xFFFFFFFF;  // an item was read whose text is not known

/// Saturating narrowing for counters.
std::uint32_t capped(std::uint64_t n) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(n, kUnbounded));
}

}  // namespace

SchemaExpander::ArrayPlan& SchemaExpander::array_plan(std::uint32_t clause) {
  const auto [at, fresh] = array_plans_.try_emplace(clause);
  ArrayPlan& plan = at->second;
  if (fresh) {
    plan.clause = array_clauses_[clause];
    plan.any = language_.inhabited(*plan.clause);
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
    plan.tracks = c.unique || c.repeats;
    if (plan.tracks) {
      const Normal& rest = language_.normal(c.rest);
      plan.roomy = rest.string == RegexPool::kAll ||
                   rest.number == language_.algebra().any_number() ||
                   rest.number == language_.algebra().any_integer();
      const std::uint64_t different = language_.count(c.rest);
      if (c.unique && plan.reach > c.prefix.size() && different < plan.reach - c.prefix.size()) {
        plan.reach = c.prefix.size() + different;
      }
    }
  }
  return plan;
}

SchemaExpander::Tracked SchemaExpander::tracked(const ArrayPlan& plan) {
  const std::size_t counts = 1 + plan.clause->contains.size();
  return {counts, counts + 1, counts + 2};
}

SchemaExpander::State SchemaExpander::array_begin(const ArrayPlan& plan) const {
  State state(1 + plan.clause->contains.size() + (plan.tracks ? 3 : 0), 0);
  if (plan.tracks) {
    state[tracked(plan).start] = kNoText;
  }
  return state;
}

/// An item has ended: its value joins the set.
void SchemaExpander::note_item(Machine& machine, const ArrayPlan& plan, State& state,
                               std::uint32_t text) {
  const Tracked at = tracked(plan);
  std::uint32_t& set = state[at.set];
  if (state[at.met] != 0 || set == kUnknownSet) {
    return;
  }
  if (text == kAnyText || state[at.start] == kAnyText) {
    set = kUnknownSet;
    return;
  }
  std::set<ExprId> values = value_sets_[set];
  values.insert(language_.value_of(machine.recorded(text, state[at.start])));
  const auto [known, fresh] =
      value_set_ids_.try_emplace(values, static_cast<std::uint32_t>(value_sets_.size()));
  if (fresh) {
    language_.pool().budget().memory(values.size() * 100);
    value_sets_.push_back(std::move(values));
  }
  set = known->second;
}

/// The ways of reading `item` next, by what was read before it.
void SchemaExpander::tell_apart(const ArrayPlan& plan, ExprId item, const State& next,
                                bool has_room, std::vector<NextValue>& out) {
  const Tracked at = tracked(plan);
  ExprPool& exprs = language_.exprs();
  const auto offer = [&](ExprId fitting, State state) {
    if (language_.inhabited(fitting)) {
      out.push_back({fitting, intern(std::move(state))});
    }
  };
  if (next[at.set] == kUnknownSet) {
    if (plan.clause->repeats ? has_room : plan.roomy) {
      offer(item, next);
    }
    return;
  }
  const std::set<ExprId>& values = value_sets_[next[at.set]];
  if (plan.clause->unique) {
    std::vector<ExprId> demands = {item};
    for (const ExprId had : values) {
      demands.push_back(exprs.complement(had));
    }
    offer(exprs.both(std::move(demands)), next);
    return;
  }
  if (next[at.met] != 0 || has_room) {
    offer(item, next);
  }
  if (next[at.met] == 0 && !values.empty()) {
    State met = next;
    met[at.met] = 1;
    met[at.set] = 0;
    offer(exprs.both({item, exprs.either({values.begin(), values.end()})}), std::move(met));
  }
}

bool SchemaExpander::array_closes(const ArrayPlan& plan, const State& state) const {
  const ArrayClause& c = *plan.clause;
  for (std::size_t i = 0; i < c.contains.size(); ++i) {
    if (state[1 + i] < c.contains[i].least) {
      return false;
    }
  }
  return state[0] >= c.least && (!c.repeats || state[tracked(plan).met] != 0);
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
    if (plan.tracks) {
      tell_apart(plan, item, next, room > 0, out);
    } else if (language_.inhabited(item)) {
      out.push_back({item, intern(std::move(next))});
    }
  }
  return out;
}

void SchemaExpander::expand_array(Machine& machine, const Frame& frame, std::uint32_t text,
                                  std::vector<StackId>& out) {
  ArrayPlan& plan = array_plan(frame.a);
  const std::uint8_t records = frame.kind & kRecords;
  const std::uint32_t carried = records != 0 ? text : 0;
  const int kind = frame.kind & ~kRecords;
  State state = states_[frame.b];
  if (plan.tracks && kind == array_after) {
    note_item(machine, plan, state, text);
  }
  if (plan.tracks) {
    state[tracked(plan).start] = kNoText;
  }
  if (kind != array_next && array_closes(plan, state)) {
    machine.push_lexeme(kind == array_first ? close_array_ : close_array_after_, frame.parent, out,
                        carried);
  }
  const std::vector<NextValue> next = items(plan, state);
  if (kind == array_after) {
    if (!next.empty()) {
      machine.push_lexeme(comma_,
                          machine.push(array_next | records, frame.a, intern(state), frame.parent),
                          out, carried);
    }
    return;
  }
  for (const NextValue& item : next) {
    std::uint32_t after = item.state;
    bool may_end = true;
    std::uint8_t item_records = records;
    if (plan.tracks) {
      const Tracked at = tracked(plan);
      State begun = states_[item.state];
      if (begun[at.met] == 0) {
        item_records = kRecords;
        begun[at.start] = records != 0 ? text : kNoText;
        may_end = begun[at.set] != kUnknownSet || plan.clause->repeats;
        after = intern(std::move(begun));
      }
    }
    if (!may_end) {
      // Which values are left is known only once the token is chosen: a string may begin with it.
      if (language_.normal(item.value).string == RegexPool::kAll) {
        machine.push_lexeme(lexer_.json_string({{0, RegexPool::kAll}}),
                            machine.push(no_end, 0, 0, frame.parent), out);
      }
      continue;
    }
    out.push_back(machine.push(value | item_records, item.value, 0,
                               machine.push(array_after | records, frame.a, after, frame.parent)));
  }
}

SchemaExpander::Interest SchemaExpander::interest(const Frame& frame) {
  switch (frame.kind & ~kRecords) {
    case array_after: {
      const ArrayPlan& plan = array_plan(frame.a);
      const bool waits = plan.tracks && states_[frame.b][tracked(plan).met] == 0;
      return waits && !plan.roomy ? Interest::exact : Interest::none;
    }
    case object_name:
      return object_plan(frame.a).tracks ? Interest::permit : Interest::none;
    default:
      return Interest::none;
  }
}

}  // namespace lm::grammar
