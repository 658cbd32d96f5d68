#include "runtime/tokenizer/merge_list.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include <fmt/core.h>

namespace lm::tokenizer {
namespace {

constexpr std::string_view kKey = "tokenizer.ggml.merges";
constexpr std::size_t kMaxMerges = 4u << 20;  // twice as many as a vocabulary may have tokens

/// Looks texts up some entries ahead of their use: the tables are larger than the caches, so most
/// time goes into waiting for memory (llama-bpe: 280,147 merges, 840,000 lookups).
class MergeReader {
 public:
  MergeReader(const Vocab& vocab, const TokenIndex& index) : vocab_(vocab), index_(index) {}

  void add(std::string_view merge, std::size_t space) {
    Pending& p = pending_[n_pending_++];
    p.left = merge.substr(0, space);
    p.right = merge.substr(space + 1);
    p.joined.assign(p.left);
    p.joined.append(p.right);
    p.left_hash = hash_bytes(p.left);
    p.right_hash = hash_bytes(p.right);
    index_.prefetch(p.left_hash);
    index_.prefetch(p.right_hash);
    if (n_pending_ == pending_.size()) {
      flush();
    }
  }

  void flush() {
    for (std::size_t i = 0; i < n_pending_; ++i) {
      resolve(pending_[i]);
      merges.prefetch(pending_[i].left_id, pending_[i].right_id);
    }
    for (std::size_t i = 0; i < n_pending_; ++i) {
      insert(pending_[i]);
    }
    n_pending_ = 0;
  }

  MergeIndex merges;
  std::size_t n_unknown = 0;

 private:
  struct Pending {
    std::string_view left;
    std::string_view right;
    std::string joined;
    std::uint64_t left_hash = 0;
    std::uint64_t right_hash = 0;
    Token left_id = kNoId;
    Token right_id = kNoId;
    Token joined_id = kNoId;
  };

  void resolve(Pending& p) {
    p.left_id = index_.find(vocab_, p.left, p.left_hash);
    p.right_id = index_.find(vocab_, p.right, p.right_hash);
    p.joined_id = find_joined(p.joined);
  }

  void insert(const Pending& p) {
    const std::uint32_t rank = rank_++;
    if (p.left_id == kNoId || p.right_id == kNoId || p.joined_id == kNoId) {
      ++n_unknown;
      return;
    }
    const TokenKind kind = vocab_.kind[static_cast<std::size_t>(p.joined_id)];
    if (kind == TokenKind::normal || kind == TokenKind::user_defined || kind == TokenKind::byte) {
      merges.insert(p.left_id, p.right_id, {rank, p.joined_id});
    }
  }

  /// Most vocabularies list tokens in the order of their merges: the token behind the last one is
  /// tried first.
  Token find_joined(std::string_view text) {
    for (const Token guess : {last_joined_ + 1, last_joined_}) {
      if (guess >= 0 && static_cast<std::size_t>(guess) < vocab_.size() &&
          vocab_.text(guess) == text) {
        return last_joined_ = guess;
      }
    }
    const Token found = index_.find(vocab_, text);
    if (found != kNoId) {
      last_joined_ = found;
    }
    return found;
  }

  const Vocab& vocab_;
  const TokenIndex& index_;
  std::array<Pending, 32> pending_;
  std::size_t n_pending_ = 0;
  std::uint32_t rank_ = 0;
  Token last_joined_ = kNoId;
};

}  // namespace

Result<MergeIndex> read_merges(const Metadata& metadata, const Vocab& vocab,
                               const TokenIndex& index, std::vector<std::string>* warnings) {
  LM_TRY(const auto merges, metadata.try_strings(kKey));
  if (!merges) {
    return fail(ErrorCode::missing, metadata.subject(), fmt::format("key '{}' is missing", kKey),
                "the file is incomplete, get it again or convert it again");
  }
  if (merges->size() > kMaxMerges) {
    return fail(
        ErrorCode::limit_exceeded, metadata.subject(),
        fmt::format("key '{}' has {} entries, the limit is {}", kKey, merges->size(), kMaxMerges));
  }
  MergeReader reader(vocab, index);
  reader.merges.reserve(merges->size());
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const std::string_view merge = (*merges)[i];
    // The left side may itself begin with a space.
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      return fail(ErrorCode::bad_vocab, metadata.subject(),
                  fmt::format("key '{}': entry {} is not two texts with a space between", kKey, i),
                  "the file is malformed, get it again or convert it again");
    }
    reader.add(merge, space);
  }
  reader.flush();
  if (reader.n_unknown > 0 && warnings != nullptr) {
    warnings->push_back(fmt::format("key '{}': {} entries name texts that are no tokens, left out",
                                    kKey, reader.n_unknown));
  }
  return std::move(reader.merges);
}

}  // namespace lm::tokenizer
