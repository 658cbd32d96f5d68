#include "runtime/tokenizer/pretokenize.h"

#include <utility>

#include <fmt/core.h>

namespace lm::tokenizer {

Result<Pretokenizer> Pretokenizer::create(std::string_view name) {
  const std::optional<PretokenizerSpec> spec = find_pretokenizer(name);
  if (!spec) {
    return fail(ErrorCode::unsupported, "tokenizer.ggml.pre",
                fmt::format("pre-tokenizer '{}' is not known", name.substr(0, 100)),
                "this model needs a newer lm");
  }
  Pretokenizer result;
  for (const std::string_view expression : spec->expressions) {
    LM_TRY(Pattern pattern, Pattern::compile(expression));
    result.patterns_.push_back(std::move(pattern));
  }
  return result;
}

void Pretokenizer::split(std::string_view text, std::vector<std::size_t>& ends,
                         Pattern::Scratch& scratch) const {
  ends.clear();
  if (text.empty()) {
    return;
  }
  ends.push_back(text.size());
  std::vector<std::size_t> pieces;
  for (const Pattern& pattern : patterns_) {
    pieces.swap(ends);
    ends.clear();
    std::size_t begin = 0;
    for (const std::size_t end : pieces) {
      pattern.split(text.substr(begin, end - begin), begin, ends, scratch);
      begin = end;
    }
  }
}

}  // namespace lm::tokenizer
