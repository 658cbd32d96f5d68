// Everything a CDN and a line do wrong, and the bytes that come out right all the same.
#include <algorithm>
#include <span>

#include <fcntl.h>
#include <unistd.h>

#include "store/chunk_sums.h"
#include "store/journal.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

using test::Fault;

constexpr std::size_t kMiB = 1 << 20;
constexpr std::size_t kSize = 34 * kMiB + 7;  // three chunks, the last one short
constexpr std::size_t kSmall = 2 * kMiB;      // where one chunk shows it as well
constexpr const char* kName = "hf.co/u/r:Q4_0";

class DownloadFaultTest : public PullTest {
 protected:
  void start_with_file(test::TestHub::Options options = {}, std::size_t size = kSize) {
    start(std::move(options));
    static const std::string noise_bytes = noise(kSize);
    bytes_ = noise_bytes.substr(0, size);
    hub_->add_file("u/r", "m-Q4_0.gguf", bytes_);
  }
  /// A pull that has to work.
  void expect_right(const PullOptions& options = {}) {
    const auto result = pull_name("u/r", options);
    ASSERT_TRUE(result) << result.error().subject << ": " << result.error().problem;
    EXPECT_TRUE(stored_bytes(kName) == bytes_);
    EXPECT_TRUE(files_in("partial").empty());
  }
  Error expect_error(const PullOptions& options = {}) {
    const auto result = pull_name("u/r", options);
    EXPECT_FALSE(result);
    EXPECT_TRUE(open_store().list()->empty());
    return result ? Error{} : result.error();
  }
  store::Digest digest() {
    return *store::Digest::parse_hex(hub_->digest_hex("u/r", "m-Q4_0.gguf"));
  }
  std::optional<store::Journal> journal() {
    auto journal = store::read_journal(open_store().journal_path(digest()));
    return journal ? std::optional(*journal) : std::nullopt;
  }
  /// Stops the pull once `bytes` are on disk.
  void stop_at(std::uint64_t bytes) {
    on_event_ = [this, bytes](const PullEvent& event) {
      if (event.kind == PullEvent::Kind::progress && event.completed_bytes >= bytes) {
        stop_ = true;
      }
    };
  }
  void interrupt_at(std::uint64_t bytes) {
    hub_->set_bytes_per_second(60 * kMiB);
    stop_at(bytes);
    EXPECT_EQ(expect_error().code, ErrorCode::interrupted);
    on_event_ = {};
    stop_ = false;
    hub_->set_bytes_per_second(0);
  }
  std::string bytes_;
};

TEST_F(DownloadFaultTest, ReconnectsAStalledConnectionAtItsLastByte) {
  start_with_file();
  settings_.tuning.stall_timeout = std::chrono::milliseconds(1'500);
  hub_->add_fault({.kind = Fault::Kind::stall, .times = 2, .after_bytes = 3 * kMiB});
  expect_right({.connections = 1});
  EXPECT_EQ(hub_->weight_bytes(), kSize);
}

TEST_F(DownloadFaultTest, LetsOthersRunWhileOneStalls) {
  start_with_file();
  settings_.tuning.stall_timeout = std::chrono::milliseconds(500);
  hub_->add_fault({.kind = Fault::Kind::stall, .times = 1, .after_bytes = 100});
  expect_right();
}

TEST_F(DownloadFaultTest, GivesUpWhenNothingMovesAnyMore) {
  start_with_file({}, kSmall);
  settings_.tuning.stall_timeout = std::chrono::milliseconds(50);
  settings_.tuning.dead_timeout = std::chrono::milliseconds(120);
  hub_->add_fault({.kind = Fault::Kind::stall, .times = 1000, .after_bytes = 0});
  EXPECT_EQ(expect_error().code, ErrorCode::network);
  hub_->clear_faults();
  expect_right();
}

TEST_F(DownloadFaultTest, SurvivesResets) {
  start_with_file();
  hub_->add_fault({.kind = Fault::Kind::reset, .times = 6, .after_bytes = 2 * kMiB});
  expect_right();
}

TEST_F(DownloadFaultTest, SurvivesAnswersThatEndEarly) {
  start_with_file();
  hub_->add_fault({.kind = Fault::Kind::close, .times = 6, .after_bytes = 2 * kMiB});
  expect_right({.connections = 1});
  EXPECT_EQ(hub_->weight_bytes(), kSize);
}

TEST_F(DownloadFaultTest, MakesProgressByteAfterByte) {
  // Each answer brings a little: no number of such failures is the end.
  start_with_file();
  bytes_ = noise(400'000);
  hub_->add_file("u/r", "m-Q4_0.gguf", bytes_);
  hub_->add_fault({.kind = Fault::Kind::close, .times = 1000, .after_bytes = 20'000});
  expect_right();
}

TEST_F(DownloadFaultTest, EndsAfterFailuresWithoutAByte) {
  for (const Fault::Kind kind : {Fault::Kind::reset, Fault::Kind::close}) {
    start_with_file({}, kSmall);
    hub_->add_fault({.kind = kind, .times = 1000});
    EXPECT_EQ(expect_error().code, ErrorCode::network);
    EXPECT_LT(hub_->log().size(), 60u);
  }
}

TEST_F(DownloadFaultTest, WaitsOutServerErrors) {
  for (const int status : {500, 502, 503, 504, 408}) {
    start_with_file({}, kSmall);
    hub_->add_fault({.kind = Fault::Kind::status, .times = 4, .status = status});
    expect_right();
    std::filesystem::remove_all(home());
  }
}

TEST_F(DownloadFaultTest, KeepsThePartialWhenTheServerStaysBroken) {
  start_with_file();
  interrupt_at(20 * kMiB);
  hub_->add_fault({.kind = Fault::Kind::status, .times = 1000, .status = 503});
  const Error error = expect_error();
  EXPECT_EQ(error.code, ErrorCode::http);
  EXPECT_NE(error.problem.find("503"), std::string::npos);
  const auto kept = journal();
  ASSERT_TRUE(kept);
  EXPECT_GE(kept->done_bytes(), 20 * kMiB);
  hub_->clear_faults();
  hub_->clear_log();
  expect_right();
  EXPECT_EQ(hub_->weight_bytes(), kSize - kept->done_bytes());
}

TEST_F(DownloadFaultTest, HonoursARateLimitOfTheCdn) {
  start_with_file({}, kSmall);
  hub_->add_fault(
      {.kind = Fault::Kind::status, .times = 1, .status = 429, .headers = {{"Retry-After", "1"}}});
  expect_right();
  EXPECT_TRUE(said(PullEvent::Kind::status, "wait 1 s"));

  std::filesystem::remove_all(home());
  hub_->add_fault({.kind = Fault::Kind::status,
                   .times = 8,
                   .status = 429,
                   .headers = {{"Retry-After", "301"}}});
  const Error error = expect_error();
  EXPECT_EQ(error.code, ErrorCode::rate_limited);
  EXPECT_NE(error.hint.find("301 s"), std::string::npos);
}

TEST_F(DownloadFaultTest, AsksForANewAddressWhenTheOldOneExpires) {
  start_with_file({.bytes_per_second = 60 * kMiB});
  int times = 0;
  on_event_ = [&](const PullEvent& event) {
    if (event.kind == PullEvent::Kind::progress && event.completed_bytes > 0 && ++times <= 2) {
      hub_->expire_addresses();
    }
  };
  expect_right({.connections = 1});
  EXPECT_EQ(hub_->weight_bytes(), kSize);
}

TEST_F(DownloadFaultTest, StopsWhenEveryAddressIsRefused) {
  start_with_file({}, kSmall);
  hub_->add_fault({.kind = Fault::Kind::status,
                   .times = 1000,
                   .status = 403,
                   .body = "<Error><Code>SignatureDoesNotMatch</Code></Error>"});
  EXPECT_EQ(expect_error().code, ErrorCode::unauthorized);
  EXPECT_LT(hub_->log().size(), 60u);
}

TEST_F(DownloadFaultTest, UsesAddressesThatSeemExpiredAlready) {
  // A clock that is wrong by hours must not end in asking for addresses for ever.
  start_with_file({}, kSmall);
  hub_->set_address_life(std::chrono::seconds(-7200));
  expect_right();
  EXPECT_LT(hub_->log().size(), 60u);
}

TEST_F(DownloadFaultTest, FallsBackToAWholeStreamWhenRangesAreIgnored) {
  start_with_file();
  hub_->add_fault({.kind = Fault::Kind::ignore_range, .times = 1000});
  expect_right();
}

TEST_F(DownloadFaultTest, ContinuesAWholeStreamAcrossFailures) {
  start_with_file();
  interrupt_at(20 * kMiB);
  hub_->add_fault({.kind = Fault::Kind::close, .times = 1, .after_bytes = 25 * kMiB});
  hub_->add_fault({.kind = Fault::Kind::ignore_range, .times = 1000});
  expect_right();
}

TEST_F(DownloadFaultTest, TakesShortRangesAndAsksForTheRest) {
  start_with_file();
  hub_->add_fault({.kind = Fault::Kind::short_range, .times = 20, .after_bytes = kMiB + 1});
  expect_right();
  EXPECT_EQ(hub_->weight_bytes(), kSize);
}

TEST_F(DownloadFaultTest, RefusesRangesThatLie) {
  for (const Fault::Kind kind :
       {Fault::Kind::wrong_range, Fault::Kind::wrong_total, Fault::Kind::web_page}) {
    start_with_file({}, kSmall);
    hub_->add_fault({.kind = kind, .times = 1});
    expect_right();
    std::filesystem::remove_all(home());
    hub_->add_fault({.kind = kind, .times = 1000});
    EXPECT_EQ(expect_error().code, ErrorCode::protocol);
    hub_->clear_faults();
    expect_right();
    std::filesystem::remove_all(home());
  }
}

TEST_F(DownloadFaultTest, RefusesAnotherSizeOrDigestThanAnnounced) {
  start_with_file({}, kSmall);
  hub_->add_fault(
      {.kind = Fault::Kind::linked_size, .times = 1000, .cdn = false, .target = "/resolve/"});
  EXPECT_EQ(expect_error().code, ErrorCode::size_mismatch);
  hub_->clear_faults();
  hub_->add_fault(
      {.kind = Fault::Kind::linked_etag, .times = 1000, .cdn = false, .target = "/resolve/"});
  EXPECT_EQ(expect_error().code, ErrorCode::digest_mismatch);
  EXPECT_EQ(hub_->weight_bytes(), 0u);
  EXPECT_TRUE(files_in("partial").empty());
  hub_->clear_faults();
  expect_right();
}

TEST_F(DownloadFaultTest, StartsOverWhenTheContentChangesHalfWay) {
  start_with_file({.bytes_per_second = 60 * kMiB});
  bool changed = false;
  on_event_ = [&](const PullEvent& event) {
    if (!changed && event.kind == PullEvent::Kind::progress && event.completed_bytes > 0) {
      changed = true;
      hub_->add_fault(
          {.kind = Fault::Kind::linked_etag, .times = 1000, .cdn = false, .target = "/resolve/"});
      hub_->expire_addresses();
    }
  };
  EXPECT_EQ(expect_error({.connections = 1}).code, ErrorCode::digest_mismatch);
  EXPECT_TRUE(files_in("partial").empty());
  hub_->clear_faults();
  on_event_ = {};
  expect_right();
}

TEST_F(DownloadFaultTest, MendsAWrongByteByChunk) {
  start_with_file();
  hub_->add_fault({.kind = Fault::Kind::corrupt, .times = 1, .after_bytes = 12345});
  expect_right();
  EXPECT_TRUE(said(PullEvent::Kind::status, "digest is wrong"));
  EXPECT_LE(hub_->weight_bytes(), 2 * kSize);
}

TEST_F(DownloadFaultTest, AsksForANewAddressWhileMending) {
  start_with_file();
  hub_->add_fault({.kind = Fault::Kind::corrupt, .times = 1, .after_bytes = 12345});
  bool expired = false;
  on_event_ = [&](const PullEvent& event) {
    if (!expired && event.text.find("digest is wrong") != std::string::npos) {
      expired = true;
      hub_->expire_addresses();
    }
  };
  expect_right();
  EXPECT_TRUE(expired);
}

TEST_F(DownloadFaultTest, EndsWhenAPlainAddressChangesUnderneath) {
  start_with_file({.without_cdn = true, .without_lfs = true});
  const std::string address = hub_->endpoint() + "/u/r/resolve/main/m-Q4_0.gguf";
  hub_->set_bytes_per_second(60 * kMiB);
  bool changed = false;
  on_event_ = [&](const PullEvent& event) {
    if (!changed && event.kind == PullEvent::Kind::progress && event.completed_bytes > 0) {
      changed = true;
      hub_->add_fault({.kind = Fault::Kind::headers,
                       .times = 1000,
                       .cdn = false,
                       .headers = {{"ETag", "\"another\""}}});
    }
  };
  const auto result = pull_name(address, {.connections = 1});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::digest_mismatch) << result.error().problem;
  EXPECT_TRUE(files_in("partial").empty());
  hub_->clear_faults();
  hub_->set_bytes_per_second(0);
  on_event_ = {};
  ASSERT_TRUE(pull_name(address));
  EXPECT_TRUE(stored_bytes("m-Q4_0") == bytes_);
}

TEST_F(DownloadFaultTest, MendsSeveralWrongChunks) {
  start_with_file();
  hub_->add_fault({.kind = Fault::Kind::corrupt, .times = 3, .after_bytes = 999});
  expect_right();
}

TEST_F(DownloadFaultTest, EndsWithBothDigestsWhenBytesStayWrong) {
  start_with_file();
  hub_->add_fault({.kind = Fault::Kind::corrupt, .times = 1000, .after_bytes = 12345});
  const Error error = expect_error();
  EXPECT_EQ(error.code, ErrorCode::digest_mismatch);
  EXPECT_NE(error.problem.find(digest().hex()), std::string::npos) << error.problem;
  const std::size_t first = error.problem.find_first_of("0123456789abcdef", 15);
  EXPECT_NE(error.problem.substr(first, 64), digest().hex());
  EXPECT_LE(hub_->weight_bytes(), 2 * kSize);  // one pass, not one per try
  // And the next pull is not doomed by this one.
  EXPECT_TRUE(files_in("partial").empty());
  hub_->clear_faults();
  expect_right();
}

TEST_F(DownloadFaultTest, FetchesTheWholeAgainWhenOnlyTheWholeIsServed) {
  start_with_file({.ignore_ranges = true});
  hub_->add_fault({.kind = Fault::Kind::corrupt, .times = 4, .after_bytes = 5 * kMiB});
  hub_->add_fault({.kind = Fault::Kind::status, .times = 1, .status = 503});
  const auto result = pull_name("u/r", {.connections = 1});
  // The first four answers are all wrong at one place: one pass mends nothing.
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::digest_mismatch);
  hub_->clear_faults();
  hub_->add_fault({.kind = Fault::Kind::corrupt, .times = 1, .after_bytes = 5 * kMiB});
  expect_right({.connections = 1});
  EXPECT_TRUE(said(PullEvent::Kind::status, "fetching the file again"));
}

TEST_F(DownloadFaultTest, FetchesOnlyMissingBytesAfterAnInterrupt) {
  for (const std::uint64_t at :
       {std::uint64_t{1}, kSize / 100, kSize / 4, kSize / 2, kSize - 200'000}) {
    start_with_file();
    interrupt_at(at);
    const auto kept = journal();
    ASSERT_TRUE(kept);
    EXPECT_GE(kept->done_bytes(), at);
    hub_->clear_log();
    expect_right();
    EXPECT_EQ(hub_->weight_bytes(), kSize - kept->done_bytes());
    std::filesystem::remove_all(home());
  }
}

TEST_F(DownloadFaultTest, FetchesNothingWhenEveryByteIsThere) {
  // Ended between the last byte and the rename.
  start_with_file();
  expect_right();
  store::Journal whole;
  {
    auto store = open_store();
    const auto part = store.partial_path(digest());
    const auto path = store.journal_path(digest());
    ASSERT_TRUE(store.remove(kName));
    std::ofstream(part, std::ios::binary) << bytes_;
    whole = {.repo = "u/r",
             .commit = hub_->commit("u/r"),
             .path = "m-Q4_0.gguf",
             .url = {},
             .etag = {},
             .model = kName,
             .size_bytes = kSize,
             .sha256 = digest(),
             .done = {{0, kSize}},
             .chunks = {}};
    for (std::uint64_t at = 0; at < kSize; at += store::kChunkBytes) {
      const auto piece = std::string_view(bytes_).substr(at, store::kChunkBytes);
      whole.chunks.push_back(store::chunk_hash(std::as_bytes(std::span(piece))));
    }
    ASSERT_TRUE(store::write_journal(path, whole));
  }
  hub_->clear_log();
  expect_right();
  EXPECT_EQ(hub_->weight_bytes(), 0u);
}

TEST_F(DownloadFaultTest, StartsOverFromAForeignOrDamagedJournal) {
  for (const int kind : {0, 1, 2, 3}) {
    start_with_file();
    interrupt_at(20 * kMiB);
    const auto path = open_store().journal_path(digest());
    auto other = *journal();
    if (kind == 0) {
      std::ofstream(path) << "noise";
    } else if (kind == 1) {
      other.size_bytes = kSize - 1;
      other.done.clear();
      other.chunks.clear();
      ASSERT_TRUE(store::write_journal(path, other));
    } else if (kind == 2) {
      other.sha256 = store::Digest{};
      ASSERT_TRUE(store::write_journal(path, other));
    } else {
      // The journal speaks of bytes that the file has lost.
      std::filesystem::resize_file(open_store().partial_path(digest()), 100);
    }
    hub_->clear_log();
    expect_right();
    EXPECT_EQ(hub_->weight_bytes(), kSize);
    std::filesystem::remove_all(home());
  }
}

TEST_F(DownloadFaultTest, FetchesAgainOnlyTheChunkTheDiskSpoilt) {
  start_with_file();
  interrupt_at(kSize - 1'000'000);
  const auto kept = *journal();
  std::size_t spoilt = 0;
  while (spoilt < kept.chunks.size() && !kept.chunks[spoilt]) {
    ++spoilt;
  }
  ASSERT_LT(spoilt, kept.chunks.size());
  const auto part = open_store().partial_path(digest());
  const int fd = ::open(part.c_str(), O_RDWR);
  const auto at = static_cast<off_t>(spoilt * store::kChunkBytes + 77);
  char byte = 0;
  ASSERT_EQ(::pread(fd, &byte, 1, at), 1);
  byte = static_cast<char>(byte ^ 1);
  ASSERT_EQ(::pwrite(fd, &byte, 1, at), 1);
  ::close(fd);
  hub_->clear_log();
  expect_right();
  EXPECT_TRUE(said(PullEvent::Kind::warning, "changed on disk"));
  // The last chunk of the file is shorter than the others.
  const std::size_t chunk =
      std::min<std::size_t>(store::kChunkBytes, kSize - spoilt * store::kChunkBytes);
  EXPECT_EQ(hub_->weight_bytes(), kSize - kept.done_bytes() + chunk);
}

TEST_F(DownloadFaultTest, StopsWithinAMomentWhileWaiting) {
  start_with_file({}, kSmall);
  settings_.tuning.retry_base = std::chrono::milliseconds(60'000);
  hub_->add_fault({.kind = Fault::Kind::status, .times = 1000, .cdn = false, .status = 503});
  on_event_ = [this](const PullEvent& event) {
    if (event.text.find("trying again") != std::string::npos) {
      stop_ = true;
    }
  };
  EXPECT_EQ(expect_error().code, ErrorCode::interrupted);
}

TEST_F(DownloadFaultTest, KeepsChecksumsBesideTheBlob) {
  start_with_file({}, kSmall);
  expect_right();
  const auto names = files_in("blobs");
  EXPECT_NE(std::find(names.begin(), names.end(), digest().blob_name() + ".chunks"), names.end());
}

}  // namespace LM_FILE
}  // namespace lm::registry
