#include "runtime/chat/prompt.h"

#include <fmt/core.h>

namespace lm {

std::string to_text(const Prompt& prompt) {
  std::string text;
  for (const PromptSegment& segment : prompt) {
    if (segment.kind == PromptSegment::Kind::text) {
      text.append(segment.text);
    } else {
      text.append(fmt::format("[media {}]", segment.media_index));
    }
  }
  return text;
}

std::vector<Token> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt, bool add_bos) {
  std::vector<Token> ids;
  const Vocab& vocab = tokenizer.vocab();
  const bool wants_bos = add_bos && vocab.add_bos && vocab.bos != kNoId;
  if (wants_bos) {
    ids.push_back(vocab.bos);
  }
  const auto n_before = ids.size();

  // Text up to the next medium is encoded as one, so that words may span template and message.
  std::vector<TextPart> parts;
  const auto flush = [&] {
    if (!parts.empty()) {
      tokenizer.encode_parts(parts, true, ids);
      parts.clear();
    }
  };
  for (const PromptSegment& segment : prompt) {
    if (segment.kind == PromptSegment::Kind::text) {
      parts.push_back({segment.text, segment.special});
    } else {
      flush();
    }
  }
  flush();

  const bool twice = wants_bos && ids.size() > n_before && ids[n_before] == vocab.bos;
  if (twice) {
    ids.erase(ids.begin());
  }
  return ids;
}

}  // namespace lm
