/// Template source becomes tokens. White space control happens here: `-`, `+`, trim_blocks,
/// lstrip_blocks, raw blocks and comments, as Jinja2 3.1 documents them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/jinja_budget.h"

namespace lm::jinja {

struct LexToken {
  enum class Kind : std::uint8_t {
    data,  ///< text between tags
    variable_begin,
    variable_end,
    block_begin,
    block_end,
    name,
    string,  ///< `text` without quotes, escapes replaced
    integer,
    real,
    op,
    end,
  };
  Kind kind = Kind::end;
  std::uint32_t line = 1;
  std::string text;
  std::int64_t integer = 0;
  double real = 0;
};

struct LexOptions {
  bool trim_blocks = true;
  bool lstrip_blocks = true;
};

/// The last token is always `end`. Line ends become \n; one at the very end of the source is
/// dropped.
Eval<std::vector<LexToken>> tokenize(Budget& budget, std::string_view source,
                                     const LexOptions& options);

/// For messages: "'endfor'", "end of template".
std::string describe(const LexToken& token);

}  // namespace lm::jinja
