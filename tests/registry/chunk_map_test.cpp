#include "registry/chunk_map.h"

#include <vector>

#include <gtest/gtest.h>

#include "registry/connection_governor.h"
#include "registry/rate_limiter.h"

namespace lm::registry {
namespace LM_FILE {

using store::kChunkBytes;

constexpr auto kNow = Clock::time_point{} + std::chrono::hours(1);

/// Feeds bytes as a connection would, in pieces of odd size.
void feed(ChunkMap& map, std::uint64_t begin, std::uint64_t end) {
  static const std::vector<std::byte> zeros(1 << 20);
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t chunk_end = map.range_of(map.index_of(at)).end;
    const auto size = std::min<std::uint64_t>({777'777, end - at, chunk_end - at});
    const auto fresh = map.fresh(at, std::span(zeros).first(static_cast<std::size_t>(size)));
    if (!fresh.bytes.empty()) {
      map.mark(fresh);
    }
    at += size;
  }
}

TEST(ChunkMap, HandsOutEveryByteOnce) {
  ChunkMap map(5 * kChunkBytes + 100);
  EXPECT_EQ(map.count(), 6u);
  std::uint64_t covered = 0;
  std::vector<ByteRange> claims;
  while (const auto range = map.claim(2, kNow)) {
    EXPECT_EQ(range->begin, covered);
    covered = range->end;
    claims.push_back(*range);
  }
  EXPECT_EQ(covered, map.size_bytes());
  EXPECT_EQ(map.free_chunks(), 0u);
  for (const ByteRange range : claims) {
    feed(map, range.begin, range.end);
    map.release(range);
  }
  EXPECT_TRUE(map.complete());
  EXPECT_EQ(map.prefix_bytes(), map.size_bytes());
  for (std::size_t i = 0; i < map.count(); ++i) {
    EXPECT_TRUE(map[i].sum.has_value());
  }
}

TEST(ChunkMap, GoesOnFromTheLastByte) {
  ChunkMap map(2 * kChunkBytes);
  const auto first = map.claim(1, kNow);
  feed(map, 0, 1000);
  map.release(*first);
  EXPECT_EQ(map.claim(1, kNow), (ByteRange{1000, kChunkBytes}));
  EXPECT_EQ(map.prefix_bytes(), 1000u);
}

TEST(ChunkMap, CountsDoubledBytesOnce) {
  ChunkMap map(kChunkBytes);
  const auto range = map.claim(1, kNow);
  feed(map, 0, 5000);
  const ByteRange again = map.claim_again(0);
  EXPECT_EQ(again.begin, 5000u);
  feed(map, 5000, 9000);
  feed(map, 5000, 8000);  // the slower one brings the same bytes
  EXPECT_EQ(map.done_bytes(), 9000u);
  feed(map, 5000, kChunkBytes);
  EXPECT_TRUE(map.complete());
  map.release(*range);
  map.release(again);
  const std::vector<std::byte> zeros(kChunkBytes);
  EXPECT_EQ(map[0].sum, store::chunk_hash(zeros));
}

TEST(ChunkMap, IgnoresBytesBehindAGap) {
  ChunkMap map(kChunkBytes);
  feed(map, 10, 20);
  EXPECT_EQ(map.done_bytes(), 0u);
}

TEST(ChunkMap, SurvivesTheJournal) {
  ChunkMap map(3 * kChunkBytes + 7);
  feed(map, 0, kChunkBytes);
  feed(map, 2 * kChunkBytes, 2 * kChunkBytes + 500);
  store::Journal journal;
  journal.size_bytes = map.size_bytes();
  map.write_to(journal);
  EXPECT_EQ(journal.done_bytes(), kChunkBytes + 500);

  ChunkMap again(map.size_bytes());
  again.restore(journal);
  EXPECT_EQ(again.done_bytes(), map.done_bytes());
  EXPECT_EQ(again[0].sum, map[0].sum);
  EXPECT_FALSE(again[2].sum);
  EXPECT_TRUE(again[2].suspect);
  EXPECT_EQ(again.claim(4, kNow), (ByteRange{kChunkBytes, 2 * kChunkBytes}));
  feed(again, 2 * kChunkBytes + 500, 3 * kChunkBytes);
  EXPECT_FALSE(again[2].sum);  // half of its bytes came earlier: the caller reads them back
}

TEST(ChunkMap, DistrustsAFullChunkWithoutASum) {
  store::Journal journal;
  journal.size_bytes = 2 * kChunkBytes;
  journal.done = {{0, kChunkBytes + 10}};
  journal.chunks = {std::nullopt, std::nullopt};
  ChunkMap map(journal.size_bytes);
  map.restore(journal);
  EXPECT_EQ(map.done_bytes(), 10u);
}

TEST(ChunkMap, TakesOnlyWhatBeginsWithItsChunk) {
  store::Journal journal;
  journal.size_bytes = 2 * kChunkBytes;
  journal.done = {{100, 200}, {kChunkBytes - 5, kChunkBytes + 50}};
  journal.chunks = {std::nullopt, std::nullopt};
  ChunkMap map(journal.size_bytes);
  map.restore(journal);
  EXPECT_EQ(map.done_bytes(), 50u);
}

TEST(ChunkMap, ForgetsABadChunk) {
  ChunkMap map(3 * kChunkBytes);
  feed(map, 0, 3 * kChunkBytes);
  EXPECT_EQ(map.prefix_bytes(), 3 * kChunkBytes);
  map.invalidate(1);
  EXPECT_EQ(map.prefix_bytes(), kChunkBytes);
  EXPECT_FALSE(map.complete());
  EXPECT_EQ(map.claim(4, kNow), (ByteRange{kChunkBytes, 2 * kChunkBytes}));
}

TEST(ChunkMap, WaitsBeforeAFailedChunk) {
  ChunkMap map(2 * kChunkBytes);
  map[0].not_before = kNow + std::chrono::seconds(1);
  EXPECT_EQ(map.claim(4, kNow)->begin, kChunkBytes);
  EXPECT_FALSE(map.claim(4, kNow));
  EXPECT_EQ(map.claim(4, kNow + std::chrono::seconds(2))->begin, 0u);
}

TEST(ChunkMap, KnowsAnEmptyFile) {
  ChunkMap map(0);
  EXPECT_TRUE(map.complete());
  EXPECT_EQ(map.prefix_bytes(), 0u);
  EXPECT_FALSE(map.claim(4, kNow));
}

TEST(ConnectionGovernor, GrowsWhileItHelps) {
  ConnectionGovernor governor(0);
  EXPECT_EQ(governor.target(), 4u);
  governor.on_interval(100);
  EXPECT_EQ(governor.target(), 5u);
  governor.on_interval(120);
  EXPECT_EQ(governor.target(), 6u);
  governor.on_interval(121);  // no gain: back, and no more tries
  EXPECT_EQ(governor.target(), 5u);
  governor.on_interval(1000);
  EXPECT_EQ(governor.target(), 5u);
}

TEST(ConnectionGovernor, StopsAtItsCapAndYields) {
  ConnectionGovernor governor(0);
  for (double speed = 100; speed < 1e6; speed *= 1.5) {
    governor.on_interval(speed);
    EXPECT_LE(governor.target(), 8u);
  }
  EXPECT_EQ(governor.target(), 8u);
  for (int i = 0; i < 8; ++i) {
    governor.on_pushback();  // one event, seen by every connection
  }
  EXPECT_EQ(governor.target(), 7u);
  for (int i = 0; i < 20; ++i) {
    governor.on_interval(1);
    governor.on_pushback();
  }
  EXPECT_EQ(governor.target(), 1u);
}

TEST(ConnectionGovernor, TriesAgainAfterAQuietWhile) {
  ConnectionGovernor governor(0);
  governor.on_pushback();
  EXPECT_EQ(governor.target(), 3u);
  for (int i = 0; i < 15; ++i) {
    governor.on_interval(100);
    EXPECT_EQ(governor.target(), 3u);
  }
  governor.on_interval(100);
  EXPECT_EQ(governor.target(), 4u);
}

TEST(ConnectionGovernor, KeepsAFixedNumber) {
  ConnectionGovernor governor(3);
  governor.on_interval(1);
  governor.on_interval(1000);
  governor.on_pushback();
  EXPECT_EQ(governor.target(), 3u);
}

TEST(RateLimiter, AllowsTheRateAndNoBurst) {
  RateLimiter limiter(1'000'000);
  auto now = Clock::now();
  double taken = 0;
  for (int ms = 0; ms < 10'000; ms += 10) {
    now += std::chrono::milliseconds(10);
    while (limiter.allows(now)) {
      limiter.take(4096);
      taken += 4096;
    }
  }
  EXPECT_NEAR(taken, 10e6, 0.3e6);
  RateLimiter none(0);
  EXPECT_TRUE(none.allows(now));
}

}  // namespace LM_FILE
}  // namespace lm::registry
