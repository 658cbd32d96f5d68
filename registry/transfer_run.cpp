#include "registry/transfer_run.h"

#include <algorithm>
#include <ctime>

#include <curl/curl.h>
#include <fmt/format.h>

#include "store/file_ops.h"

namespace lm::registry {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxChunksPerRequest = 4;
constexpr std::uint64_t kMaxLiveNoteBytes = 8 << 20;
constexpr std::chrono::seconds kGovernorInterval{2};
constexpr std::chrono::seconds kExpiryMargin{60};
constexpr std::chrono::seconds kWorthDoubling{3};
constexpr milliseconds kReportInterval{100};

}  // namespace

TransferRun::TransferRun(HttpClient& http, const DownloadSource& source,
                         const DownloadOptions& options, const DownloadObserver& observer,
                         PartialFile& file, ChunkMap& map)
    : http_(http),
      source_(source),
      observer_(observer),
      tuning_(http.settings().tuning),
      file_(file),
      map_(map),
      saver_(file),
      hasher_(file, map.size_bytes(),
              [&map] {
                std::vector<std::optional<std::uint64_t>> kept(map.count());
                for (std::size_t i = 0; i < map.count(); ++i) {
                  kept[i] = map[i].sum;
                }
                return kept;
              }()),
      governor_(options.connections),
      limiter_(options.limit_rate) {}

TransferRun::~TransferRun() {
  for (const auto& connection : connections_) {
    stop(*connection);
  }
}

store::Journal TransferRun::journal() const {
  store::Journal journal = source_.identity;
  map_.write_to(journal);
  return journal;
}

std::uint64_t TransferRun::size_bytes() const {
  return map_.size_bytes();
}

bool TransferRun::may_take(std::uint64_t bytes) {
  if (!limiter_.allows(Clock::now())) {
    return false;
  }
  limiter_.take(bytes);
  return true;
}

/// Of a plain address nothing else ties its parts together. A hub's file has its commit and mostly
/// a SHA-256, and its CDN's nodes may differ in their tags.
bool TransferRun::is_same_file(std::string_view etag) {
  const store::Journal& wanted = source_.identity;
  const std::string got = unquoted_etag(etag);
  if (wanted.sha256 || !wanted.repo.empty() || wanted.etag.empty() || got.empty() ||
      got == wanted.etag) {
    return true;
  }
  fatal_ = Error{.code = ErrorCode::digest_mismatch,
                 .subject = source_.file_name,
                 .problem = fmt::format("it changed on the server while it was fetched (ETag {} "
                                        "instead of {})",
                                        got, wanted.etag),
                 .hint = "run the command again to start over"};
  return false;
}

void TransferRun::on_range_ignored() {
  if (!whole_file_only_) {
    whole_file_only_ = true;
    fell_back_ = true;
  }
}

/// Writes what is new of `bytes`. False ends the transfer: the answer is over, or `fatal_` says
/// why.
bool TransferRun::take_bytes(RangeConnection& connection, std::span<const char> bytes) {
  fetched_bytes_ += bytes.size();
  connection.arrived += bytes.size();
  const auto wanted = std::min<std::uint64_t>(bytes.size(), connection.end - connection.position);
  auto rest = std::as_bytes(bytes.first(static_cast<std::size_t>(wanted)));
  while (!rest.empty()) {
    const std::size_t index = map_.index_of(connection.position);
    const std::uint64_t chunk_end = map_.range_of(index).end;
    const auto piece = rest.first(static_cast<std::size_t>(
        std::min<std::uint64_t>(rest.size(), chunk_end - connection.position)));
    const ChunkMap::Fresh fresh = map_.fresh(connection.position, piece);
    if (!fresh.bytes.empty()) {
      if (const auto written =
              store::write_at(file_.fd(), fresh.bytes, fresh.offset, file_.subject());
          !written) {
        fatal_ = written.error();
        return false;
      }
      if (map_.mark(fresh) && !map_[index].sum) {
        const auto sum = chunk_sum_on_disk(file_.fd(), map_.range_of(index), file_.subject());
        if (!sum) {
          fatal_ = sum.error();
          return false;
        }
        map_.set_sum(index, *sum);
      }
      connection.fresh += fresh.bytes.size();
      new_bytes_ += fresh.bytes.size();
      interval_bytes_ += fresh.bytes.size();
      expiries_ = 0;
      last_byte_ = connection.last_byte;
    }
    connection.position += piece.size();
    rest = rest.subspan(piece.size());
  }
  return wanted == bytes.size();
}

Result<void> TransferRun::ensure_address() {
  const auto now = Clock::now();
  if (address_) {
    const bool expires = address_->expires_unix &&
                         std::time(nullptr) + kExpiryMargin.count() >= *address_->expires_unix;
    // A clock that is wrong makes every address look expired: one that was just given is used all
    // the same.
    if (!expires || now - resolved_at_ < std::chrono::seconds(30)) {
      return {};
    }
  }
  LM_TRY(Resolved resolved, source_.resolve());
  if (resolved.size_bytes && *resolved.size_bytes != map_.size_bytes()) {
    return std::unexpected(Error{.code = ErrorCode::size_mismatch,
                                 .subject = source_.file_name,
                                 .problem = fmt::format("it has {} bytes now, {} were announced",
                                                        *resolved.size_bytes, map_.size_bytes()),
                                 .hint = "run the command again to start over"});
  }
  const auto& wanted = source_.identity;
  const bool other_digest = wanted.sha256 && resolved.digest && *resolved.digest != *wanted.sha256;
  const bool other_etag = !wanted.sha256 && resolved.identity != wanted.etag;
  if (other_digest || other_etag) {
    return std::unexpected(
        Error{.code = ErrorCode::digest_mismatch,
              .subject = source_.file_name,
              .problem = fmt::format("the server names other content now: {} instead of {}",
                                     resolved.digest ? resolved.digest->hex() : resolved.identity,
                                     wanted.sha256 ? wanted.sha256->hex() : wanted.etag),
              .hint = "run the command again to start over"});
  }
  address_ = std::move(resolved);
  resolved_at_ = Clock::now();
  redirects_ = 0;
  // The question took time in which no transfer was looked at.
  for (const auto& connection : connections_) {
    connection->last_byte = resolved_at_;
  }
  last_byte_ = resolved_at_;
  return {};
}

Result<Resolved> TransferRun::address() {
  LM_CHECK(ensure_address());
  return *address_;
}

RangeConnection* TransferRun::idle_connection() {
  unsigned active = 0;
  RangeConnection* idle = nullptr;
  for (const auto& connection : connections_) {
    active += connection->active ? 1 : 0;
    idle = connection->active ? idle : connection.get();
  }
  const unsigned target = whole_file_only_ ? 1 : governor_.target();
  if (active >= target) {
    return nullptr;
  }
  if (idle == nullptr) {
    ConnectionOwner& owner = *this;
    connections_.push_back(std::make_unique<RangeConnection>(http_.settings(), owner));
    idle = connections_.back().get();
  }
  return idle;
}

/// The connection whose rest would take longest, if a second one is likely to be home much earlier.
RangeConnection* TransferRun::slowest_worth_doubling(Clock::time_point now) {
  RangeConnection* slowest = nullptr;
  double longest = 0;
  double best_speed = 0;
  for (const auto& connection : connections_) {
    const double seconds = std::chrono::duration<double>(now - connection->started).count();
    if (!connection->active || connection->paused || seconds < 2) {
      continue;
    }
    const double speed = static_cast<double>(connection->arrived) / seconds;
    best_speed = std::max(best_speed, speed);
    const double rest =
        static_cast<double>(connection->end - connection->position) / std::max(speed, 1.0);
    const std::size_t index = map_.index_of(connection->position);
    if (rest > longest && map_[index].claims == 1 && !map_.filled(index)) {
      longest = rest;
      slowest = connection.get();
    }
  }
  if (slowest == nullptr || longest < static_cast<double>(kWorthDoubling.count())) {
    return nullptr;
  }
  const double again = static_cast<double>(slowest->end - slowest->position) /
                       std::max({best_speed, finished_speed_, 1.0});
  return again < longest / 2 ? slowest : nullptr;
}

void TransferRun::start(RangeConnection& connection, ByteRange range) {
  const ByteRange wanted = whole_file_only_ ? ByteRange{0, map_.size_bytes()} : range;
  const Secret* token = address_->bearer ? &*address_->bearer : http_.token_for(address_->url);
  connection.start(loop_, address_->url, token, wanted, whole_file_only_);
}

void TransferRun::stop(RangeConnection& connection) {
  if (!connection.active) {
    return;
  }
  loop_.remove(connection.transfer);
  connection.active = false;
  map_.release(connection.range);
  connection.range = {};
}

Result<void> TransferRun::start_connections() {
  auto now = Clock::now();
  while (now >= gate_) {
    RangeConnection* connection = idle_connection();
    if (connection == nullptr) {
      return {};
    }
    if (whole_file_only_) {
      LM_CHECK(ensure_address());
      start(*connection, {});
      return {};
    }
    // Large requests while there is plenty, single chunks towards the end, so that all connections
    // end together.
    const std::size_t share = map_.free_chunks() / (2 * std::max(1u, governor_.target()));
    std::optional<ByteRange> range =
        map_.claim(std::clamp<std::size_t>(share, 1, kMaxChunksPerRequest), now);
    if (!range && map_.free_chunks() == 0) {
      if (RangeConnection* slowest = slowest_worth_doubling(now)) {
        range = map_.claim_again(map_.index_of(slowest->position));
      }
    }
    if (!range) {
      return {};
    }
    if (const auto address = ensure_address(); !address) {
      map_.release(*range);
      return address;
    }
    start(*connection, *range);
    now = Clock::now();
  }
  return {};
}

Result<void> TransferRun::check_workers() {
  if (const auto error = saver_.error()) {
    return std::unexpected(*error);
  }
  if (const auto error = hasher_.error()) {
    return std::unexpected(*error);
  }
  if (const auto bad = hasher_.take_bad_chunk()) {
    observer_.warning(
        fmt::format("{}: chunk {} changed on disk since it was fetched; fetching it again",
                    source_.file_name, *bad));
    map_.invalidate(*bad);
    file_.forget_live();
  }
  hasher_.advance(map_.prefix_bytes());
  return {};
}

void TransferRun::save_if_due(Clock::time_point now) {
  const std::uint64_t note_bytes =
      std::clamp<std::uint64_t>(map_.size_bytes() / 4, 1, kMaxLiveNoteBytes);
  if (new_bytes_ - noted_bytes_ >= note_bytes) {
    // The journal waits for the disk, which may be far behind the line.
    file_.note_live(journal());
    noted_bytes_ = new_bytes_;
  }
  const std::uint64_t fresh = new_bytes_ - saved_bytes_;
  const bool due =
      fresh >= tuning_.journal_bytes || (fresh > 0 && now - last_save_ >= tuning_.journal_interval);
  if (due && saver_.idle()) {
    saver_.save(journal());
    saved_bytes_ = new_bytes_;
    last_save_ = now;
  }
}

void TransferRun::report(Clock::time_point now) {
  if (now - interval_start_ >= kGovernorInterval) {
    const double seconds = std::chrono::duration<double>(now - interval_start_).count();
    governor_.on_interval(static_cast<double>(interval_bytes_) / seconds);
    interval_bytes_ = 0;
    interval_start_ = now;
  }
  if (now - last_report_ < kReportInterval && !map_.complete()) {
    return;
  }
  last_report_ = now;
  reported_bytes_ = std::max(reported_bytes_, map_.done_bytes());
  observer_.progress(reported_bytes_);
}

/// One turn of the loop.
Result<void> TransferRun::step() {
  if (http_.stop()) {
    return std::unexpected(interrupted_error());
  }
  LM_CHECK(check_workers());
  if (map_.complete()) {
    hasher_.wait(milliseconds(10));
    return {};
  }
  LM_CHECK(start_connections());
  bool limited = false;
  for (const auto& connection : connections_) {
    if (connection->active && connection->paused) {
      limited = true;
      if (limiter_.allows(Clock::now())) {
        connection->paused = false;
        connection->transfer.resume();
      }
    }
  }
  loop_.poll(milliseconds(limited ? 10 : 50));
  if (fatal_) {
    return std::unexpected(*fatal_);
  }
  while (const auto done = loop_.next_done()) {
    for (const auto& connection : connections_) {
      if (&connection->transfer == done->transfer) {
        LM_CHECK(on_done(*connection, done->curl_code));
        break;
      }
    }
  }
  end_obsolete();
  const auto now = Clock::now();
  LM_CHECK(check_stalls(now));
  save_if_due(now);
  report(now);
  return {};
}

Result<store::Digest> TransferRun::run() {
  observer_.progress(map_.done_bytes());
  while (true) {
    if (const auto digest = hasher_.digest(); digest && map_.complete()) {
      report(Clock::now());
      return *digest;
    }
    if (auto stepped = step(); !stepped) {
      for (const auto& connection : connections_) {
        stop(*connection);
      }
      // The partial stays, with a journal that names all of it; the first failure is the one to
      // tell.
      if (saver_.flush(journal())) {
        file_.forget_live();
      }
      return std::unexpected(std::move(stepped).error());
    }
  }
}

}  // namespace lm::registry
