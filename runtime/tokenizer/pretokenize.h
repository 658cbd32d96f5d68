/// Cutting a text into the pieces inside which a BPE vocabulary may merge.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/tokenizer/pattern.h"

namespace lm::tokenizer {

/// What a name in tokenizer.ggml.pre stands for.
struct PretokenizerSpec {
  std::span<const std::string_view>
      expressions;             ///< applied in order, each to the pieces left by the one before
  bool ignore_merges = false;  ///< a piece that is a token is taken whole
  bool add_bos = false;        ///< default of tokenizer.ggml.add_bos_token
  bool byte_level = true;      ///< false: over characters, with spaces written as U+2581
};

/// The row of a name, or nothing.
std::optional<PretokenizerSpec> find_pretokenizer(std::string_view name);
/// All names, for tests.
std::vector<std::string_view> pretokenizer_names();

/// The expressions of a name, compiled. Immutable and thread-safe.
class Pretokenizer {
 public:
  /// Errors: unsupported, when the name is not known.
  static Result<Pretokenizer> create(std::string_view name);

  /// Ends of the pieces of `text`: not empty, ascending, the last one is text.size(). No piece ends
  /// inside a character.
  void split(std::string_view text, std::vector<std::size_t>& ends,
             Pattern::Scratch& scratch) const;

 private:
  std::vector<Pattern> patterns_;
};

}  // namespace lm::tokenizer
