#include "runtime/grammar/schema_expander.h"

namespace lm::grammar {

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
  const NodeId minus = pool.optional(pool.literal(U"-"));
  const auto whole_of = [&](std::uint32_t digits) {
    return pool.concat(nonzero, pool.repeat(digit, 0, digits - 1));
  };
  const auto fraction_of = [&](std::uint32_t digits) {
    return pool.concat(point, pool.concat(pool.repeat(digit, 0, digits - 1),
                                          pool.concat(nonzero, pool.repeat(zero, 0, 2))));
  };
  const NodeId no_fraction = pool.optional(pool.concat(point, pool.repeat(zero, 1, 2)));
  const NodeId whole = pool.concat(minus, pool.alt({zero, whole_of(64)}));
  // Readers hold numbers as doubles. Where a schema tells numbers apart, those with a fraction have
  // at most the 15 digits that a double keeps, or they would be other numbers to a reader, even
  // integers; 16 for seconds with microseconds.
  constexpr std::uint32_t kDoubleDigits = 15;
  std::vector<NodeId> exact = {pool.concat(zero, fraction_of(32)),
                               pool.concat(whole_of(10), fraction_of(6))};
  for (std::uint32_t digits = 1; digits < kDoubleDigits; ++digits) {
    exact.push_back(pool.concat(whole_of(digits), fraction_of(kDoubleDigits - digits)));
  }
  const NodeId exact_fraction = pool.concat(minus, pool.alt(std::move(exact)));
  CodeSet e = CodeSet::single(U'e');
  e.add(CodeSet::single(U'E'));
  CodeSet sign = CodeSet::single(U'+');
  sign.add(CodeSet::single(U'-'));
  number_style_ = pool.concat(whole, pool.alt({no_fraction, fraction_of(32)}));
  exact_style_ = pool.alt({pool.concat(whole, no_fraction), exact_fraction});
  // Under multipleOf they divide doubles too: what they can't hold exactly they would judge
  // otherwise.
  const NodeId short_whole = pool.concat(minus, pool.alt({zero, whole_of(kDoubleDigits)}));
  short_style_ = pool.alt({pool.concat(short_whole, no_fraction), exact_fraction});
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
    scalars.push_back(pool.both({n.number, pool.divides(n.number) ? short_style_ : exact_style_}));
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
  switch (frame.kind & ~kRecords) {
    case begin:
      machine.push_lexeme(frame.a, frame.parent, out);
      return;
    case value:
      expand_value(machine, frame, text, out);
      return;
    case array_first:
    case array_after:
    case array_next:
      expand_array(machine, frame, text, out);
      return;
    case no_end:
      return;
    default:
      expand_object(machine, frame, tag, text, out);
      return;
  }
}

void SchemaExpander::expand_value(Machine& machine, const Frame& frame, std::uint32_t text,
                                  std::vector<StackId>& out) {
  const std::uint8_t records = frame.kind & kRecords;
  const std::uint32_t carried = records != 0 ? text : 0;
  const ValueLexemes starts = lexemes(frame.a);
  machine.push_lexeme(starts.scalar, frame.parent, out, carried);
  machine.push_lexeme(starts.string, frame.parent, out, carried);
  for (const std::uint32_t clause : starts.arrays) {
    ArrayPlan& plan = array_plan(clause);
    if (!plan.any || plan.clause->least > plan.reach) {
      continue;
    }
    const State first = array_begin(plan);
    if (array_closes(plan, first) || !items(plan, first).empty()) {
      machine.push_lexeme(open_array_,
                          machine.push(array_first | records, clause, intern(first), frame.parent),
                          out, carried);
    }
  }
  for (const std::uint32_t clause : starts.objects) {
    ObjectPlan& plan = object_plan(clause);
    const State first((plan.literals + 31) / 32 + 3, 0);
    if (!plan.any) {
      continue;
    }
    if (object_closes(plan, first) || names(plan, first) != kDead) {
      machine.push_lexeme(open_object_,
                          machine.push(object_first | records, clause, intern(first), frame.parent),
                          out, carried);
    }
  }
}

}  // namespace lm::grammar
