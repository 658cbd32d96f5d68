/// The pushdown automaton of a schema: values, arrays and objects as frames.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/grammar/machine.h"
#include "runtime/grammar/schema_language.h"

namespace lm::grammar {

/// Members may come in any order; between the parts of a document a space or two, or a line end
/// with indentation, may stand, never white space without end.
class SchemaExpander : public Expander {
 public:
  SchemaExpander(SchemaLanguage& language, Lexer& lexer);

  /// The stack of a whole document: the root's value with white space around it.
  StackId document(Machine& machine);
  /// A frame that is a value of the schema.
  StackId push_value(Machine& machine, ExprId schema, StackId parent) {
    return machine.push(value, schema, 0, parent);
  }
  static constexpr std::uint8_t kKinds = 0x20;  ///< kinds of frames are below
  void expand(Machine& machine, const Frame& frame, std::int32_t tag, std::uint32_t text,
              std::vector<StackId>& out) override;
  Interest interest(const Frame& frame) override;
  bool allows(const Frame& frame, const std::string& text) override;

 private:
  enum Kind : std::uint8_t {
    value = 1,     ///< a: expression
    begin,         ///< a: lexeme, to be pushed
    array_first,   ///< a: clause, b: state; behind '['
    array_after,   ///< behind an item
    array_next,    ///< behind a comma
    object_first,  ///< a: clause, b: state; behind '{'
    object_name,   ///< a name has ended
    object_after,  ///< behind a value
    object_next,   ///< behind a comma
    no_end         ///< nothing may end here
  };
  /// Counters and bits of an array or object on its way, kept once.
  using State = std::vector<std::uint32_t>;
  struct ValueLexemes {
    ByteState scalar = kDead, string = kDead;
    std::vector<std::uint32_t> arrays, objects;  ///< clause numbers
  };
  struct ObjectPlan {
    const ObjectClause* clause = nullptr;
    std::vector<NameClass> classes;
    std::vector<bool> possible;
    bool any = false;  ///< there is such an object
    std::size_t literals = 0;
    bool counts = false;  ///< properties must be counted
    bool tracks = false;  ///< ... and told apart: names outside the literals may not come twice
    std::map<State, ByteState> names;  ///< lexemes by state
  };
  struct ArrayPlan {
    const ArrayClause* clause = nullptr;
    std::uint64_t reach = 0;  ///< items that can be
    bool any = false;         ///< there is such an array
    bool tracks = false;      ///< items must be told apart
    bool roomy = false;       ///< ... and there will always be another one
  };
  /// Where an array's state keeps what tells its items apart.
  struct Tracked {
    std::size_t set, met, start;  ///< number of the set; an item was repeated; text before the item
  };
  struct NextValue {
    ExprId value;
    std::uint32_t state;
  };

  const ValueLexemes& lexemes(ExprId id);
  std::uint32_t intern(State state);
  ArrayPlan& array_plan(std::uint32_t clause);
  ObjectPlan& object_plan(std::uint32_t clause);
  State array_begin(const ArrayPlan& plan) const;
  static Tracked tracked(const ArrayPlan& plan);
  bool array_closes(const ArrayPlan& plan, const State& state) const;
  std::vector<NextValue> items(ArrayPlan& plan, const State& state);
  void tell_apart(const ArrayPlan& plan, ExprId item, const State& next, bool has_room,
                  std::vector<NextValue>& out);
  void note_item(Machine& machine, const ArrayPlan& plan, State& state, std::uint32_t text);
  bool object_closes(const ObjectPlan& plan, const State& state) const;
  ByteState names(ObjectPlan& plan, const State& state);
  const std::set<std::string>& names_had(const Frame& frame);
  std::vector<NextValue> members(Machine& machine, ObjectPlan& plan, const State& state,
                                 std::int32_t name_class, std::uint32_t text);
  void expand_value(Machine& machine, const Frame& frame, std::uint32_t text,
                    std::vector<StackId>& out);
  void expand_array(Machine& machine, const Frame& frame, std::uint32_t text,
                    std::vector<StackId>& out);
  void expand_object(Machine& machine, const Frame& frame, std::int32_t tag, std::uint32_t text,
                     std::vector<StackId>& out);

  SchemaLanguage& language_;
  Lexer& lexer_;
  NodeId number_style_, exact_style_, short_style_, integer_style_, exponent_style_;
  ByteState open_array_, close_array_, close_array_after_;
  ByteState open_object_, close_object_, close_object_after_;
  ByteState comma_, colon_, space_;
  std::map<ExprId, ValueLexemes> lexemes_;
  std::vector<const ArrayClause*> array_clauses_;
  std::vector<const ObjectClause*> object_clauses_;
  std::map<std::uint32_t, ArrayPlan> array_plans_;
  std::map<std::uint32_t, ObjectPlan> object_plans_;
  std::vector<State> states_;
  std::map<State, std::uint32_t> state_ids_;
  std::vector<std::set<std::string>> name_sets_ = {{}};  ///< names an object has had
  std::map<std::set<std::string>, std::uint32_t> name_set_ids_ = {{{}, 0}};
  std::vector<std::set<ExprId>> value_sets_ = {{}};  ///< items an array has had
  std::map<std::set<ExprId>, std::uint32_t> value_set_ids_ = {{{}, 0}};
};

}  // namespace lm::grammar
