// Vocabularies and texts. An input is a u16 n, n bytes of text and a GGUF whose tokenizer.* keys
// make the vocabulary.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/gguf/gguf_file.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/fuzz/require.h"

namespace {

using lm::fuzz::require;

// What every answer of encode keeps, whatever the vocabulary.
void use(const lm::Tokenizer& tokenizer, std::string_view text) {
  const auto n_vocab = static_cast<lm::Token>(tokenizer.n_vocab());
  for (const auto special : {lm::SpecialTokens::as_text, lm::SpecialTokens::parsed}) {
    for (const bool at_start : {true, false}) {
      std::vector<lm::Token> ids;
      tokenizer.encode(text, special, at_start, ids);
      for (const lm::Token id : ids) {
        require(id >= 0 && id < n_vocab, "ids are in the vocabulary");
        require(special == lm::SpecialTokens::parsed || !tokenizer.vocab().is_control(id) ||
                    id == tokenizer.vocab().unk,
                "text makes no control token");
        static_cast<void>(tokenizer.piece(id, true));
      }
      std::vector<lm::Token> as_parts;
      const lm::TextPart whole{.text = text, .special = special};
      tokenizer.encode_parts({&whole, 1}, at_start, as_parts);
      require(as_parts == ids, "a text of one part is that text");
      static_cast<void>(tokenizer.decode(ids));
      static_cast<void>(tokenizer.decode(ids, true));
    }
  }
  // Two parts, the cut anywhere: nothing but defined results is asked for.
  const std::size_t half = text.size() / 2;
  const lm::TextPart parts[] = {
      {.text = text.substr(0, half), .special = lm::SpecialTokens::parsed},
      {.text = text.substr(half), .special = lm::SpecialTokens::as_text}};
  std::vector<lm::Token> ids;
  tokenizer.encode_parts(parts, true, ids);
  encode_whole(tokenizer, text, lm::SpecialTokens::parsed, ids);
  for (const lm::Token id : ids) {
    require(id >= 0 && id < n_vocab, "ids of parts are in the vocabulary");
  }
  for (const lm::Token id : {lm::Token{-1}, n_vocab, INT32_MAX, INT32_MIN}) {
    require(tokenizer.piece(id).empty(), "an id out of range has no text");
  }
}

}  // namespace

int lm_fuzz_tokenizer(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHeader = 2;
  if (size < kHeader) {
    return 0;
  }
  const std::span<const std::uint8_t> rest(data + kHeader, size - kHeader);
  const std::size_t length = data[0] + std::size_t{256} * data[1];
  if (length > rest.size()) {
    return 0;
  }
  const auto file_bytes = std::as_bytes(rest.subspan(length));
  std::vector<std::unique_ptr<lm::ByteSource>> parts;
  parts.push_back(lm::memory_source({file_bytes.begin(), file_bytes.end()}, "input"));
  const auto file = lm::GgufFile::read(std::move(parts));
  if (!file) {
    return 0;
  }
  std::vector<std::string> warnings;
  const auto tokenizer = lm::Tokenizer::create(file->metadata(), &warnings);
  if (!tokenizer) {
    require(!tokenizer.error().problem.empty() && tokenizer.error().problem.size() < 4096,
            "an error says what is wrong");
    return 0;
  }
  use(**tokenizer, {reinterpret_cast<const char*>(rest.data()), length});
  return 0;
}
