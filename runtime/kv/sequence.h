/// The memory of one sequence: pages and state slots, reference-counted, copy-on-write.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/error.h"
#include "backends/step_input.h"

namespace lm {

class PagePool;
class StatePool;

/// Tokens that a sequence without recurrent state can always forget: pages stay this long behind a
/// window. Bounds what may be drafted ahead.
constexpr std::uint32_t kMaxRollBack = 16;

/// Page tables (one per KV group) and a recurrent state slot. Sequences share pages after `fork`;
/// whoever writes to a shared page first gets a copy of it. Not thread-safe: the engine thread owns
/// all sequences of a session.
class Sequence {
 public:
  Sequence(PagePool& pages, StatePool* states);
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  std::uint32_t length() const { return length_; }  ///< tokens in the KV
  /// Page ids of a group; entry i holds KV indices [i * kPageTokens, ...); kNoPage where released.
  const std::vector<std::uint32_t>& table(std::uint32_t group) const { return tables_[group]; }
  std::uint32_t state_slot() const { return state_slot_; }

  /// Makes room for n more tokens: allocates pages, copies a shared page that will be written to.
  /// All or nothing. Errors: out_of_memory.
  Result<void> reserve(std::uint32_t n);
  /// n reserved tokens are now in the KV.
  void commit(std::uint32_t n);
  /// Gives back pages reserved beyond the length (a step that was not begun).
  void unreserve();
  /// A step with this sequence was begun and did not end. The KV below the length is untouched; a
  /// recurrent state is not, so with one everything is forgotten and must be evaluated again.
  void discard_step();

  /// A sequence with the same content that shares all pages. A snapshot is a fork that nobody
  /// writes to.
  Result<std::unique_ptr<Sequence>> fork();
  /// Forgets the last n tokens. Errors: unsupported when a recurrent state stands beyond the new
  /// length, or pages behind a window are gone (go back to a snapshot instead).
  Result<void> roll_back(std::uint32_t n);
  bool can_roll_back(std::uint32_t n) const { return check_roll_back(n).has_value(); }
  /// Pages of `group` that hold only KV indices below `first_needed` are given back.
  void release_before(std::uint32_t group, std::uint32_t first_needed);
  void clear();

 private:
  Result<void> check_roll_back(std::uint32_t n) const;

  PagePool& pages_;
  StatePool* states_;
  std::vector<std::vector<std::uint32_t>> tables_;  ///< [group][page]
  std::uint32_t state_slot_ = kNoSlot;
  std::uint32_t length_ = 0;
  std::uint32_t state_length_ = 0;  ///< tokens the recurrent state has seen
};

}  // namespace lm
