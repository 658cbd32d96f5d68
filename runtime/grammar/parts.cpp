#include "runtime/grammar/parts.h"

#include "runtime/grammar/schema_expander.h"

namespace lm::grammar {
namespace {

/// Strings that a text between marks can hold: no control characters but tabs and line ends, no
/// line end at either side (layout would be taken for it), and not the mark itself.
NodeId raw_strings(RegexPool& pool, const std::string& until) {
  CodeSet characters = CodeSet::range(U' ', 0x7F);
  characters.add(CodeSet::range(0xA0, kCodeEnd));
  CodeSet inner = characters;
  inner.add(CodeSet::single(U'\n'));
  inner.add(CodeSet::single(U'\t'));
  const NodeId outside = pool.set(characters);
  const NodeId text = pool.optional(
      pool.concat(outside, pool.optional(pool.concat(pool.star(pool.set(inner)), outside))));
  const NodeId holds =
      pool.concat(RegexPool::kAll, pool.concat(pool.literal_utf8(until), RegexPool::kAll));
  return pool.without(text, holds);
}

}  // namespace

Result<std::vector<ExprId>> PartsExpander::schemas_of(const PartGraph& graph,
                                                      SchemaLanguage& language) {
  std::vector<ExprId> out;
  for (const Part& one : graph.parts) {
    ExprId schema = kTrue;
    if (one.kind == Part::Kind::value || one.kind == Part::Kind::raw) {
      LM_TRY(schema, language.schema_at(one.text));
    }
    out.push_back(schema);
  }
  return out;
}

Result<std::unique_ptr<PartsExpander>> PartsExpander::create(const PartGraph& graph,
                                                             const std::vector<ExprId>& schemas,
                                                             SchemaLanguage& language, Lexer& lexer,
                                                             SchemaExpander& values) {
  std::unique_ptr<PartsExpander> expander(new PartsExpander(values));
  RegexPool& pool = language.pool();
  for (std::size_t i = 0; i < graph.parts.size(); ++i) {
    const Part& one = graph.parts[i];
    Known known;
    known.next = one.next;
    known.schema = schemas[i];
    switch (one.kind) {
      case Part::Kind::text:
        known.lexeme = lexer.text(pool.literal_utf8(one.text));
        break;
      case Part::Kind::bytes:
        known.lexeme = lexer.bytes(one.text);
        break;
      case Part::Kind::blank:
        known.lexeme = lexer.text(pool.repeat(pool.literal(U"\n"), 0, 2));
        break;
      case Part::Kind::value:
        known.is_value = true;
        break;
      case Part::Kind::raw:
        known.lexeme = lexer.text(
            pool.both({language.normal(known.schema).string, raw_strings(pool, one.until)}));
        break;
    }
    if (known.is_value ? !language.inhabited(known.schema) : known.lexeme == kDead) {
      return fail(ErrorCode::bad_value, "schema at '#" + one.text + "'",
                  "allows no value that could be written",
                  "look for keywords that contradict each other");
    }
    expander->parts_.push_back(std::move(known));
  }
  Known beginning;
  beginning.next = graph.first;
  expander->parts_.push_back(std::move(beginning));
  return expander;
}

StackId PartsExpander::document(Machine& machine) {
  return machine.push(behind, static_cast<std::uint32_t>(parts_.size() - 1), 0, 0);
}

void PartsExpander::expand(Machine& machine, const Frame& frame, std::int32_t tag,
                           std::uint32_t text, std::vector<StackId>& out) {
  if ((frame.kind & ~kRecords) < SchemaExpander::kKinds) {
    values_.expand(machine, frame, tag, text, out);
    return;
  }
  const Known& known = parts_[frame.a];
  if (frame.kind == behind) {
    for (const std::uint32_t next : known.next) {
      out.push_back(next == kPartsEnd ? frame.parent : machine.push(part, next, 0, frame.parent));
    }
    return;
  }
  const StackId after = machine.push(behind, frame.a, 0, frame.parent);
  if (known.is_value) {
    out.push_back(values_.push_value(machine, known.schema, after));
  } else {
    machine.push_lexeme(known.lexeme, after, out);
  }
}

Expander::Interest PartsExpander::interest(const Frame& frame) {
  return (frame.kind & ~kRecords) < SchemaExpander::kKinds ? values_.interest(frame)
                                                           : Interest::none;
}

bool PartsExpander::allows(const Frame& frame, const std::string& text) {
  return (frame.kind & ~kRecords) >= SchemaExpander::kKinds || values_.allows(frame, text);
}

}  // namespace lm::grammar
