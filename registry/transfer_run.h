/// The moving part of a download: fills a locked partial file from ranged connections until it is
/// complete.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "registry/chunk_map.h"
#include "registry/connection_governor.h"
#include "registry/download.h"
#include "registry/partial_file.h"
#include "registry/range_connection.h"
#include "registry/rate_limiter.h"

namespace lm::registry {

/// Belongs to one thread. `run` may be called again after chunks were invalidated.
class TransferRun : private ConnectionOwner {
 public:
  TransferRun(HttpClient& http, const DownloadSource& source, const DownloadOptions& options,
              const DownloadObserver& observer, PartialFile& file, ChunkMap& map);
  ~TransferRun();

  /// Fetches what the map misses and hashes it; returns the digest of the whole file. On failure
  /// the journal is up to date. Errors: those of download_file.
  Result<store::Digest> run();

  std::uint64_t fetched_bytes() const { return fetched_bytes_; }
  /// The server ignores Range: repair by chunk can't work.
  bool whole_file_only() const { return whole_file_only_; }
  /// Where further requests may go: url and bearer of it.
  Result<Resolved> address();
  /// The last one is refused: the next `address` asks anew.
  void forget_address() { address_.reset(); }
  /// Journal of the present state.
  store::Journal journal() const;

 private:
  std::uint64_t size_bytes() const override;
  bool may_take(std::uint64_t bytes) override;
  bool take_bytes(RangeConnection& connection, std::span<const char> bytes) override;
  bool is_same_file(std::string_view etag) override;
  void on_range_ignored() override;

  Result<void> step();
  Result<void> ensure_address();
  Result<void> start_connections();
  void start(RangeConnection& connection, ByteRange range);
  RangeConnection* idle_connection();
  RangeConnection* slowest_worth_doubling(Clock::time_point now);
  void stop(RangeConnection& connection);
  Result<void> on_done(RangeConnection& connection, int curl_code);
  Result<void> on_refused(RangeConnection& connection);
  Result<void> on_failure(RangeConnection& connection, Error error);
  Result<void> check_stalls(Clock::time_point now);
  Result<void> check_workers();
  void end_obsolete();
  void save_if_due(Clock::time_point now);
  void report(Clock::time_point now);

  HttpClient& http_;
  const DownloadSource& source_;
  const DownloadObserver& observer_;
  const TransferTuning& tuning_;
  PartialFile& file_;
  ChunkMap& map_;
  JournalSaver saver_;
  PrefixHasher hasher_;
  TransferLoop loop_;
  ConnectionGovernor governor_;
  RateLimiter limiter_;
  std::vector<std::unique_ptr<RangeConnection>> connections_;

  std::optional<Resolved> address_;
  Clock::time_point resolved_at_{};
  int redirects_ = 0;  ///< since the last resolve
  int expiries_ = 0;   ///< since the last new byte
  bool whole_file_only_ = false;
  bool fell_back_ = false;  ///< whole_file_only_ was found out just now: the other connections end
  std::optional<Error> fatal_;  ///< from within a callback

  std::uint64_t fetched_bytes_ = 0;  ///< over the wire
  std::uint64_t new_bytes_ = 0;      ///< written
  std::uint64_t reported_bytes_ = 0;
  std::uint64_t saved_bytes_ = 0;  ///< new_bytes_ at the last journal
  std::uint64_t noted_bytes_ = 0;  ///< new_bytes_ at the last live note
  std::uint64_t bytes_at_failure_ = 0;
  std::uint64_t interval_bytes_ = 0;
  double finished_speed_ = 0;  ///< bytes a second of the last finished request
  int outages_ = 0;            ///< rounds of failures without a new byte
  Clock::time_point gate_{};   ///< no new request before
  Clock::time_point last_byte_ = Clock::now();
  Clock::time_point last_save_ = Clock::now();
  Clock::time_point last_report_{};
  Clock::time_point interval_start_ = Clock::now();
};

}  // namespace lm::registry
