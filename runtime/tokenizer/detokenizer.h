/// Streaming ids to text: never half a UTF-8 character, never half a stop string.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace lm {

/// Turns tokens of one answer into text that may be shown at once. Holds back bytes that may still
/// become part of a UTF-8 character or of a stop string. Bytes that can't become valid UTF-8 come
/// out as U+FFFD.
class Detokenizer {
 public:
  /// `continues_text`: the answer continues a text (a prompt stands before it), so no leading space
  /// is dropped. The stop string that is complete first ends the text; of several that end together
  /// the longest. Empty ones and those that are no UTF-8 are ignored. `tokenizer` must live longer.
  Detokenizer(const Tokenizer& tokenizer, std::vector<std::string> stop_strings,
              bool continues_text = true);

  /// Control tokens that are to come out as they are spelt; all others show nothing.
  void spell(std::vector<Token> tokens);

  /// Text that is safe to show after `token`. After a stop string was met (`stopped`), nothing more
  /// comes.
  std::string push(Token token);
  /// What is still held back at the end of generation (an unfinished stop string is text after
  /// all).
  std::string finish();
  bool stopped() const { return stopped_; }
  /// The stop string that was met, or empty.
  const std::string& stop_string() const { return matched_; }

 private:
  /// A stop string with how much of it the text so far ends with.
  struct Stop {
    std::string text;
    std::vector<std::uint32_t>
        shorter;  ///< [i]: longest proper prefix of text that text[0, i] ends with
    std::size_t matched = 0;
  };
  void decode(std::string_view bytes, bool at_end);
  void append(std::string_view text);
  void append(char byte);
  std::string take();

  const Tokenizer& tokenizer_;
  std::vector<Token> spelt_;  ///< sorted
  std::vector<Stop> stops_;
  std::string matched_;
  std::string text_;         ///< decoded text, of which the last part is not given out yet
  std::size_t n_given_ = 0;  ///< bytes of text_ that were given out
  std::string undecoded_;    ///< bytes of an unfinished character
  bool stopped_ = false;
  bool first_ = true;
  bool continues_text_ = true;
};

}  // namespace lm
