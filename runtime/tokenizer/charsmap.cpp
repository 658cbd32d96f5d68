#include "runtime/tokenizer/charsmap.h"

namespace lm::tokenizer {
namespace {

/// No rule of a real model is longer than a few characters; the limit bounds the work at each byte.
constexpr std::size_t kMaxRuleBytes = 64;

std::uint32_t read_u32(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  }
  return value;
}

// Fields of a unit of the double array (Yata 2009, darts-clone): where the children lie relative to
// it, which byte leads to it, whether a rule ends here.
std::uint32_t offset_of(std::uint32_t unit) {
  return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}
std::uint32_t label_of(std::uint32_t unit) {
  return unit & ((1u << 31) | 0xFFu);
}
bool has_leaf(std::uint32_t unit) {
  return (unit >> 8 & 1u) != 0;
}
std::uint32_t value_of(std::uint32_t unit) {
  return unit & ((1u << 31) - 1);
}

}  // namespace

Result<Charsmap> Charsmap::read(std::string_view bytes) {
  Charsmap map;
  if (bytes.empty()) {
    return map;
  }
  const std::size_t trie_bytes = bytes.size() < 4 ? 0 : read_u32(bytes, 0);
  if (bytes.size() < 4 || trie_bytes > bytes.size() - 4 || trie_bytes % 4 != 0) {
    return fail(ErrorCode::bad_vocab, "",
                "key 'tokenizer.ggml.precompiled_charsmap' names a trie larger than itself",
                "the file is malformed, get it again or convert it again");
  }
  map.units_.reserve(trie_bytes / 4);
  for (std::size_t at = 4; at < 4 + trie_bytes; at += 4) {
    map.units_.push_back(read_u32(bytes, at));
  }
  map.replacements_.assign(bytes.substr(4 + trie_bytes));
  map.replacements_.push_back('\0');  // so that the last text ends, whatever the file says
  return map;
}

Charsmap::Match Charsmap::longest(std::string_view text) const {
  Match match;
  if (units_.empty()) {
    return match;
  }
  std::uint64_t node = offset_of(units_[0]);
  for (std::size_t i = 0; i < text.size() && i < kMaxRuleBytes; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || label_of(units_[node]) != byte) {
      break;
    }
    const std::uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (has_leaf(unit) && node < units_.size()) {
      const std::uint32_t at = value_of(units_[node]);
      if (at < replacements_.size()) {
        match.bytes = i + 1;
        match.replacement = replacements_.c_str() + at;
      }
    }
  }
  return match;
}

}  // namespace lm::tokenizer
