#include "runtime/tokenizer/token_index.h"

#include <bit>
#include <cstring>
#include <exception>
#include <random>

namespace lm::tokenizer {
namespace {

__extension__ using Wide = unsigned __int128;

std::uint64_t make_key() {
  try {
    std::random_device device;
    return (std::uint64_t{device()} << 32 | device()) | 1;
  } catch (const std::exception&) {
    return 0xA0761D6478BD642Full;  // no randomness to be had: tables still work, only collisions
                                   // can be planned
  }
}

/// Both halves of the product, folded: every bit of the result depends on every bit of both
/// factors.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const Wide product = Wide{a} * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

template <class T>
std::uint64_t load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// At most 8 bytes as a number; together with n it tells them apart.
std::uint64_t load_short(const char* bytes, std::size_t n) {
  if (n >= 4) {
    return load<std::uint32_t>(bytes) << 32 | load<std::uint32_t>(bytes + n - 4);
  }
  if (n == 0) {
    return 0;
  }
  return load<std::uint8_t>(bytes) << 16 | load<std::uint8_t>(bytes + n / 2) << 8 |
         load<std::uint8_t>(bytes + n - 1);
}

/// Slots for n entries: a power of two, at most three quarters full.
std::size_t slots_for(std::size_t n) {
  return std::bit_ceil(n + n / 3 + 2);
}

}  // namespace

std::uint64_t hash_key() {
  static const std::uint64_t key = make_key();
  return key;
}

std::uint64_t hash_bytes(std::string_view bytes) {
  const std::uint64_t key = hash_key();
  std::uint64_t hash = mix(bytes.size() ^ key, 0x9E3779B97F4A7C15ull);
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left > 8; left -= 8, at += 8) {
    hash = mix(load<std::uint64_t>(at) ^ hash, key);
  }
  return mix(load_short(at, left) ^ hash, 0xE7037ED1A0B428DBull ^ key);
}

void TokenIndex::reserve(std::size_t n_tokens) {
  slots_.assign(slots_for(n_tokens), Slot{});
  mask_ = slots_.size() - 1;
}

void TokenIndex::insert(const Vocab& vocab, Token id) {
  const std::string_view text = vocab.text(id);
  const std::uint64_t hash = hash_bytes(text);
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
    Slot& slot = slots_[at];
    if (slot.id == kNoId) {
      slot = {tag, id};
      ++size_;
      return;
    }
    if (slot.tag == tag && vocab.text(slot.id) == text) {
      return;
    }
  }
}

Token TokenIndex::find(const Vocab& vocab, std::string_view text, std::uint64_t hash) const {
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.id == kNoId || (slot.tag == tag && vocab.text(slot.id) == text)) {
      return slot.id;
    }
  }
}

void MergeIndex::reserve(std::size_t n_merges) {
  slots_.assign(slots_for(n_merges), Slot{});
  mask_ = slots_.size() - 1;
}

void MergeIndex::insert(Token left, Token right, Merge merge) {
  const std::uint64_t key = key_of(left, right);
  for (std::size_t at = hash_number(key, hash_key_) & mask_;; at = (at + 1) & mask_) {
    Slot& slot = slots_[at];
    if (slot.merge.result == kNoId) {
      slot = {key, merge};
      ++size_;
      return;
    }
    if (slot.key == key) {
      return;
    }
  }
}

}  // namespace lm::tokenizer
