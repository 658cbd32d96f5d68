/// 64-bit checksums of 16 MiB chunks: they tell which part of a large file went bad.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/error.h"

namespace lm::store {

inline constexpr std::uint64_t kChunkBytes = std::uint64_t{16} << 20;

/// Chunks of a file of that size; 0 for an empty one.
constexpr std::uint64_t chunk_count(std::uint64_t size_bytes) {
  return size_bytes / kChunkBytes + (size_bytes % kChunkBytes != 0 ? 1 : 0);
}

/// Incremental XXH64 (seed 0): no protection against intent, only against rot, at memory speed.
/// Source: xxHash specification 0.1.1, "XXH64 algorithm description".
class ChunkHash {
 public:
  ChunkHash();
  void update(std::span<const std::byte> bytes);
  std::uint64_t finish() const;

 private:
  std::array<std::uint64_t, 4> lanes_;
  std::array<std::byte, 32> buffer_{};
  std::size_t buffered_ = 0;
  std::uint64_t total_ = 0;
};

/// XXH64 of `bytes`, seed 0.
std::uint64_t chunk_hash(std::span<const std::byte> bytes);

/// blobs/sha256-<hex>.chunks: what stays of a download for `lm verify`.
struct ChunkSums {
  std::uint64_t size_bytes = 0;
  std::vector<std::uint64_t> sums;  ///< one per chunk, in order

  std::string to_text() const;
  /// Errors: corrupt, when the text is damaged or its count doesn't fit its size.
  static Result<ChunkSums> from_text(std::string_view text, std::string_view subject);
};

}  // namespace lm::store
