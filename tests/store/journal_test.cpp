#include "store/journal.h"

#include <random>

#include "store/chunk_sums.h"
#include "store/file_ops.h"
#include "store/json_text.h"
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

std::uint64_t hash_text(std::string_view text) {
  return chunk_hash(std::as_bytes(std::span(text)));
}

// Published vectors of XXH64 with seed 0; the last is checked against another implementation's
// result.
TEST(ChunkHash, GivesThePublishedValues) {
  EXPECT_EQ(hash_text(""), 0xEF46DB3751D8E999u);
  EXPECT_EQ(hash_text("a"), 0xD24EC4F1A98C6E5Bu);
  EXPECT_EQ(hash_text("abc"), 0x44BC2CF5AD770999u);
  EXPECT_EQ(hash_text("Nobody inspects the spammish repetition"), 0xFBCEA83C8A378BF1u);
}

TEST(ChunkHash, DoesNotDependOnHowTheBytesCome) {
  std::string text;
  for (int i = 0; i < 500; ++i) {
    text += static_cast<char>(i * 7);
  }
  for (std::size_t length = 0; length <= 100; ++length) {
    const std::string_view part = std::string_view(text).substr(0, length);
    for (const std::size_t step : {1, 3, 8, 31, 32, 33, 64}) {
      ChunkHash hash;
      for (std::size_t at = 0; at < length; at += step) {
        hash.update(std::as_bytes(std::span(part.substr(at, step))));
      }
      ASSERT_EQ(hash.finish(), hash_text(part)) << length << " by " << step;
    }
  }
}

TEST(ChunkSums, ReadWhatTheyWriteAndRefuseDamage) {
  const ChunkSums sums{.size_bytes = 2 * kChunkBytes + 1, .sums = {1, 0xFFFFFFFFFFFFFFFF, 3}};
  const std::string text = sums.to_text();
  const auto read = ChunkSums::from_text(text, "c");
  ASSERT_OK(read);
  EXPECT_EQ(read->sums, sums.sums);
  EXPECT_EQ(read->size_bytes, sums.size_bytes);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string bad = text;
    bad[i] ^= 1;
    EXPECT_FALSE(ChunkSums::from_text(bad, "c").has_value()) << i;
  }
  EXPECT_ERROR(
      ChunkSums::from_text((ChunkSums{.size_bytes = kChunkBytes, .sums = {1, 2}}).to_text(), "c"),
      ErrorCode::limit_exceeded);
  EXPECT_ERROR(ChunkSums::from_text((ChunkSums{.size_bytes = 5, .sums = {}}).to_text(), "c"),
               ErrorCode::corrupt);
  EXPECT_OK(ChunkSums::from_text((ChunkSums{.size_bytes = 0, .sums = {}}).to_text(), "c"));
}

Journal full_journal() {
  return {.repo = "u/r",
          .commit = std::string(40, 'a'),
          .path = "dir/model.gguf",
          .url = "https://example.org/x.gguf",
          .etag = "\"abc\"",
          .model = "hf.co/u/r:Q4_K_M",
          .size_bytes = 3 * kChunkBytes - 5,
          .sha256 = sha256("x"),
          .done = {{0, 17}, {100, kChunkBytes}, {3 * kChunkBytes - 6, 3 * kChunkBytes - 5}},
          .chunks = {7, std::nullopt, 0}};
}

TEST(Journal, ReadsWhatItWrites) {
  const Journal journal = full_journal();
  const auto read = Journal::from_text(journal.to_text(), "j");
  ASSERT_OK(read);
  EXPECT_EQ(*read, journal);
  EXPECT_EQ(journal.done_bytes(), 17 + kChunkBytes - 100 + 1);
  const Journal empty;
  EXPECT_EQ(Journal::from_text(empty.to_text(), "j").value(), empty);
}

TEST(Journal, RefusesEveryDamagedByteAndEveryCut) {
  const std::string text = full_journal().to_text();
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string bad = text;
    bad[i] ^= 4;
    EXPECT_ERROR(Journal::from_text(bad, "j"), ErrorCode::corrupt);
    EXPECT_ERROR(Journal::from_text(text.substr(0, i), "j"), ErrorCode::corrupt);
  }
}

// A right checksum doesn't make the content true.
TEST(Journal, RefusesRangesThatMakeNoSense) {
  const auto damaged = [](auto change) {
    Journal journal = full_journal();
    change(journal);
    return Journal::from_text(journal.to_text(), "j");
  };
  EXPECT_ERROR(damaged([](Journal& j) { j.done = {{5, 5}}; }), ErrorCode::corrupt);
  EXPECT_ERROR(damaged([](Journal& j) { j.done = {{9, 5}}; }), ErrorCode::corrupt);
  EXPECT_ERROR(damaged([](Journal& j) { j.done = {{0, 10}, {9, 20}}; }), ErrorCode::corrupt);
  EXPECT_ERROR(damaged([](Journal& j) { j.done = {{20, 30}, {0, 10}}; }), ErrorCode::corrupt);
  EXPECT_ERROR(damaged([](Journal& j) { j.done = {{0, j.size_bytes + 1}}; }), ErrorCode::corrupt);
  EXPECT_ERROR(damaged([](Journal& j) { j.chunks.pop_back(); }), ErrorCode::corrupt);
  EXPECT_ERROR(damaged([](Journal& j) { j.chunks.push_back(1); }), ErrorCode::limit_exceeded);
  EXPECT_OK(damaged([](Journal& j) { j.chunks.clear(); }));
  EXPECT_OK(damaged([](Journal& j) { j.done = {{0, 10}, {10, 20}}; }));

  std::string newer = full_journal().to_text();
  newer = newer.substr(0, newer.find('\n'));
  newer.replace(newer.find("\"version\":1"), 11, "\"version\":2");
  EXPECT_ERROR(Journal::from_text(seal(newer), "j"), ErrorCode::newer_schema);
  EXPECT_ERROR(Journal::from_text(seal("[]"), "j"), ErrorCode::corrupt);

  std::string no_digest = full_journal().to_text();
  no_digest = no_digest.substr(0, no_digest.find('\n'));
  no_digest[no_digest.find("\"sha256\":\"") + 10] = 'X';
  const auto refused = Journal::from_text(seal(no_digest), "j");
  EXPECT_ERROR(refused, ErrorCode::corrupt);
  EXPECT_EQ(refused.error().subject, "j") << "the file, not the digest";
}

TEST(Journal, JoinsRanges) {
  // Against a bitmap, for random ranges.
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<ByteRange> ranges;
    std::vector<bool> bits(64);
    for (int i = 0; i < 8; ++i) {
      const std::uint64_t begin = random() % 64;
      const std::uint64_t end = begin + random() % (65 - begin);
      add_range(ranges, {begin, end});
      std::fill(bits.begin() + static_cast<long>(begin), bits.begin() + static_cast<long>(end),
                true);
      std::vector<bool> found(64);
      for (std::size_t r = 0; r < ranges.size(); ++r) {
        ASSERT_LT(ranges[r].begin, ranges[r].end);
        ASSERT_TRUE(r == 0 || ranges[r - 1].end < ranges[r].begin) << "neighbours are joined";
        std::fill(found.begin() + static_cast<long>(ranges[r].begin),
                  found.begin() + static_cast<long>(ranges[r].end), true);
      }
      ASSERT_EQ(found, bits);
    }
  }
}

TEST(Journal, ReplacesItsFileWhole) {
  TempFolder folder;
  const fs::path path = folder.path() / "x.journal";
  EXPECT_ERROR(read_journal(path), ErrorCode::not_found);
  ASSERT_OK(write_journal(path, full_journal()));
  EXPECT_EQ(read_journal(path).value(), full_journal());
  write_file(folder.path() / "x.journal.new", "left by a crash");
  Journal second = full_journal();
  second.done = {{0, 5}};
  ASSERT_OK(write_journal(path, second));
  EXPECT_EQ(read_journal(path).value(), second);
  EXPECT_EQ(files_in(folder.path()), std::set<std::string>{"x.journal"});
}

TEST(Journal, KeepsTheOldOneWhenTheNewOneCannotBeWritten) {
  TempFolder folder;
  const fs::path path = folder.path() / "x.journal";
  ASSERT_OK(write_journal(path, full_journal()));
  for (const FileOp op : {FileOp::create, FileOp::write, FileOp::sync, FileOp::rename}) {
    static FileOp failing;
    failing = op;
    set_file_op_hook([](FileOp now, const char*) { return now == failing ? ENOSPC : 0; });
    EXPECT_ERROR(write_journal(path, Journal()), ErrorCode::no_space);
    set_file_op_hook(nullptr);
    EXPECT_EQ(read_journal(path).value(), full_journal());
    EXPECT_EQ(files_in(folder.path()), std::set<std::string>{"x.journal"});
  }
}

}  // namespace LM_FILE
}  // namespace lm::store
