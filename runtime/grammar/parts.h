/// Grammars put together from parts: text, control tokens and values of schemas, as tool calls are
/// written.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/error.h"
#include "runtime/grammar/machine.h"
#include "runtime/grammar/schema_language.h"

namespace lm::grammar {

class SchemaExpander;

constexpr std::uint32_t kPartsEnd = 0xFFFFFFFF;

/// One part of a text, and what may follow it.
struct Part {
  enum class Kind : std::uint8_t {
    text,   ///< `text` as it is
    bytes,  ///< `text`, which need not be UTF-8: TokenTrie::mark
    blank,  ///< nothing, or up to two line ends
    value,  ///< JSON of the schema at the pointer `text`
    raw     ///< a string of that schema without quotes, which does not hold `until`
  };
  Kind kind = Kind::text;
  std::string text;
  std::string until = {};
  std::vector<std::uint32_t> next = {};  ///< numbers of parts; kPartsEnd: the whole ends
};

struct PartGraph {
  std::string schemas = "{}";  ///< JSON text in which the parts' pointers point
  bool plain_escapes = false;  ///< of strings: only those that other languages know too
  std::vector<Part> parts;
  std::vector<std::uint32_t> first;  ///< with which the text may begin
};

/// The frames of parts; those of values are the schema's.
class PartsExpander : public Expander {
 public:
  /// Schema of each part (kTrue where it has none). Errors: missing.
  static Result<std::vector<ExprId>> schemas_of(const PartGraph& graph, SchemaLanguage& language);
  /// `values` must live longer. Errors: bad_value (no value fits a schema).
  static Result<std::unique_ptr<PartsExpander>> create(const PartGraph& graph,
                                                       const std::vector<ExprId>& schemas,
                                                       SchemaLanguage& language, Lexer& lexer,
                                                       SchemaExpander& values);
  StackId document(Machine& machine);
  void expand(Machine& machine, const Frame& frame, std::int32_t tag, std::uint32_t text,
              std::vector<StackId>& out) override;
  Interest interest(const Frame& frame) override;
  bool allows(const Frame& frame, const std::string& text) override;

 private:
  enum Kind : std::uint8_t {
    part = 0x20,  ///< a: number of the part
    behind        ///< a: number of the part that has ended; of no part: the beginning
  };
  struct Known {
    bool is_value = false;
    ExprId schema = kTrue;
    ByteState lexeme = kDead;
    std::vector<std::uint32_t> next;
  };
  explicit PartsExpander(SchemaExpander& values) : values_(values) {}

  SchemaExpander& values_;
  std::vector<Known> parts_;  ///< one more stands for the beginning
};

}  // namespace lm::grammar
