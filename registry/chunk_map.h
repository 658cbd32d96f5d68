/// What of a file is on disk, chunk by chunk, and who fetches the rest. Not thread-safe: the
/// download's own thread has it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "store/chunk_sums.h"
#include "store/journal.h"

namespace lm::registry {

using Clock = std::chrono::steady_clock;
using store::ByteRange;

/// A chunk is filled from its first byte onwards, whatever connection brings the bytes.
struct Chunk {
  std::uint64_t filled = 0;  ///< bytes on disk from the chunk's begin
  store::ChunkHash hash;     ///< of those bytes, if `hash_bytes` == filled
  std::uint64_t hash_bytes = 0;
  std::optional<std::uint64_t> sum;  ///< of the full chunk
  int claims = 0;                    ///< connections on it
  int failures = 0;                  ///< tries since its last new byte
  Clock::time_point not_before{};    ///< earliest next try
  bool suspect = false;  ///< had a retry or was resumed half-way: first to be fetched again when
                         ///< the SHA is wrong
};

class ChunkMap {
 public:
  explicit ChunkMap(std::uint64_t size_bytes);

  /// Takes over what an earlier run finished. Only the part of each chunk that begins at its first
  /// byte counts.
  void restore(const store::Journal& journal);
  void write_to(store::Journal& journal) const;

  std::uint64_t size_bytes() const { return size_bytes_; }
  std::uint64_t done_bytes() const { return done_bytes_; }
  bool complete() const { return done_bytes_ == size_bytes_; }
  /// Bytes from the file's begin without a gap.
  std::uint64_t prefix_bytes() const;

  std::size_t count() const { return chunks_.size(); }
  Chunk& operator[](std::size_t index) { return chunks_[index]; }
  const Chunk& operator[](std::size_t index) const { return chunks_[index]; }
  ByteRange range_of(std::size_t index) const;
  std::size_t index_of(std::uint64_t offset) const {
    return static_cast<std::size_t>(offset / store::kChunkBytes);
  }
  bool filled(std::size_t index) const {
    return chunks_[index].filled == range_of(index).end - range_of(index).begin;
  }
  /// All chunks of a claimed range are full.
  bool filled(ByteRange range) const;
  std::size_t free_chunks() const;

  /// The missing bytes of the first chunk that nobody fetches and that may be tried now, and of up
  /// to `max_chunks` - 1 untouched neighbours after it.
  std::optional<ByteRange> claim(std::size_t max_chunks, Clock::time_point now);
  /// The missing bytes of a chunk somebody else is already on.
  ByteRange claim_again(std::size_t index);
  void release(ByteRange range);

  /// Of bytes that arrived for `offset`, all inside one chunk, those that are new: {position,
  /// bytes}. Bytes already there (another connection was first) and bytes behind a gap are left
  /// out.
  struct Fresh {
    std::uint64_t offset = 0;
    std::span<const std::byte> bytes;
  };
  Fresh fresh(std::uint64_t offset, std::span<const std::byte> bytes) const;
  /// Notes that `fresh` bytes are written. True when that filled their chunk; its sum is then set
  /// if its bytes all came in this run, else the caller reads them back for `set_sum`.
  bool mark(const Fresh& fresh);
  void set_sum(std::size_t index, std::uint64_t sum) { chunks_[index].sum = sum; }
  /// Forgets a chunk: its bytes are bad.
  void invalidate(std::size_t index);

 private:
  std::uint64_t size_bytes_;
  std::uint64_t done_bytes_ = 0;
  mutable std::size_t prefix_chunks_ = 0;  ///< full chunks at the begin, a cursor of prefix_bytes
  std::vector<Chunk> chunks_;
};

}  // namespace lm::registry
