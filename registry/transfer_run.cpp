#include "registry/transfer_run.h"

#include <algorithm>
#include <ctime>

#include <curl/curl.h>
#include <fmt/format.h>

#include "registry/retry.h"
#include "store/file_ops.h"

namespace lm::registry {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxRedirects = 10;
constexpr int kMaxExpiries = 3;
constexpr std::size_t kMaxChunksPerRequest = 4;
constexpr std::uint64_t kLiveNoteBytes = 8 << 20;
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

/// A refused request: expired address, redirect, rate limit, or the end.
Result<void> TransferRun::on_refused(RangeConnection& connection) {
  const int status = connection.transfer.status();
  const Headers& headers = connection.transfer.headers();
  const Url& asked = connection.transfer.url();
  if (is_redirect(status)) {
    if (address_ && asked.text == address_->url.text) {
      if (++redirects_ > kMaxRedirects) {
        return std::unexpected(
            Error{.code = ErrorCode::protocol,
                  .subject = asked.for_display(),
                  .problem = fmt::format("more than {} redirects", kMaxRedirects),
                  .hint = "check HF_ENDPOINT"});
      }
      LM_TRY(address_->url, follow_location(asked, on_endpoint(headers.get("location"),
                                                               http_.settings().endpoint)));
      if (!address_->url.same_origin(asked)) {
        address_->bearer.reset();
      }
    }
    return {};
  }
  if (status == 429) {
    governor_.on_pushback();
    const auto wait = asked_wait(headers);
    const Error error = rate_limited_error(asked, wait);
    if (wait && *wait > tuning_.rate_limit_max) {
      return std::unexpected(error);
    }
    if (!wait) {
      return on_failure(connection, error);
    }
    const auto now = Clock::now();
    if (now < gate_) {
      return {};
    }
    if (new_bytes_ == bytes_at_failure_ && ++outages_ > tuning_.max_tries) {
      return std::unexpected(error);
    }
    bytes_at_failure_ = new_bytes_;
    gate_ = now + *wait;
    observer_.status(fmt::format("the hub asks to wait {} s", wait->count()));
    return {};
  }
  if (status == 400 || status == 401 || status == 403 || status == 410 || status == 416) {
    // Several connections find the same address expired; only the first of them counts.
    if (address_ && asked.text == address_->url.text) {
      address_.reset();
      if (++expiries_ > kMaxExpiries) {
        Error error = status_error(asked, status, headers);
        error.code = status == 416 ? ErrorCode::protocol : ErrorCode::unauthorized;
        error.hint = "run the command again later; what was fetched is kept";
        return std::unexpected(error);
      }
    }
    return {};
  }
  if (is_transient_status(status)) {
    if (status == 503) {
      governor_.on_pushback();
    }
    return on_failure(connection, status_error(asked, status, headers));
  }
  Error error = status_error(asked, status, headers);
  error.code = status == 404 ? ErrorCode::not_found : error.code;
  error.hint = "run the command again later; what was fetched is kept";
  return std::unexpected(error);
}

/// Counts a failed try: per chunk, and for all connections together while no byte comes.
Result<void> TransferRun::on_failure(RangeConnection& connection, Error error) {
  const auto now = Clock::now();
  const std::size_t index = map_.index_of(std::min(connection.position, map_.size_bytes() - 1));
  Chunk& chunk = map_[index];
  chunk.suspect = true;
  ++chunk.failures;
  if (chunk.failures >= tuning_.max_tries) {
    return std::unexpected(std::move(error));
  }
  chunk.not_before = now + backoff(chunk.failures, tuning_.retry_base);
  if (new_bytes_ != bytes_at_failure_) {
    bytes_at_failure_ = new_bytes_;
    outages_ = 0;
  }
  const bool others_progress =
      now - last_byte_ < tuning_.retry_base && connection.fresh == 0 && new_bytes_ > 0;
  if (now < gate_ || others_progress) {
    return {};
  }
  if (++outages_ > tuning_.max_tries) {
    return std::unexpected(std::move(error));
  }
  const milliseconds wait = backoff(outages_, tuning_.retry_base);
  gate_ = now + wait;
  if (wait >= milliseconds(500)) {
    observer_.status(fmt::format("{}; trying again in {:.0f} s", error.problem,
                                 std::max(1.0, static_cast<double>(wait.count()) / 1000)));
  }
  return {};
}

Result<void> TransferRun::on_done(RangeConnection& connection, int curl_code) {
  connection.active = false;
  const int status = connection.transfer.status();
  const bool whole = connection.whole_file;
  if (fatal_) {
    return std::unexpected(*fatal_);
  }
  // Counted before the claim goes, so that a chunk's wait is set when it becomes free.
  Result<void> outcome;
  if (connection.broken) {
    outcome = on_failure(connection, connection.error);
  } else if (status != 0 && status != 200 && status != 206) {
    outcome = on_refused(connection);
  } else if (connection.position == connection.end && status != 0) {
    // Complete, or the server sent more than asked and was cut off.
    const double seconds = std::chrono::duration<double>(Clock::now() - connection.started).count();
    finished_speed_ = static_cast<double>(connection.arrived) / std::max(seconds, 1e-3);
  } else if (curl_code == CURLE_OK && connection.fresh > 0 && !whole) {
    // A short 206 is legal: the rest is asked for next.
  } else {
    Error error = connection.transfer.error(curl_code);
    if (curl_code == CURLE_OK) {
      error.problem = "the answer ended before its bytes";
    }
    if (curl_code == CURLE_RECV_ERROR || curl_code == CURLE_SEND_ERROR) {
      governor_.on_pushback();
    }
    outcome = error.code == ErrorCode::protocol ? Result<void>(std::unexpected(std::move(error)))
                                                : on_failure(connection, std::move(error));
  }
  map_.release(connection.range);
  connection.range = {};
  return outcome;
}

Result<void> TransferRun::check_stalls(Clock::time_point now) {
  bool any = false;
  bool any_paused = false;
  for (const auto& connection : connections_) {
    if (!connection->active) {
      continue;
    }
    any = true;
    any_paused = any_paused || connection->paused;
    if (connection->paused) {
      connection->last_byte = now;
    } else if (now - connection->last_byte > tuning_.stall_timeout) {
      // Reconnects from its last byte; no try is counted while others move.
      map_[map_.index_of(std::min(connection->position, map_.size_bytes() - 1))].suspect = true;
      stop(*connection);
    }
  }
  if (!any || any_paused) {
    last_byte_ = any_paused ? now : last_byte_;
    return {};
  }
  if (now - last_byte_ > tuning_.dead_timeout) {
    last_byte_ = now;
    if (new_bytes_ != bytes_at_failure_) {
      bytes_at_failure_ = new_bytes_;
      outages_ = 0;
    }
    if (++outages_ >= tuning_.max_tries) {
      return std::unexpected(
          Error{.code = ErrorCode::network,
                .subject = source_.file_name,
                .problem = fmt::format("no byte arrived, {} times {:.0f} s", tuning_.max_tries,
                                       static_cast<double>(tuning_.dead_timeout.count()) / 1000),
                .hint = "run the same command to continue; what was fetched is kept"});
    }
    address_.reset();
  }
  return {};
}

/// Ends connections whose bytes came by another one, and all ranged ones once ranges turned out to
/// be ignored.
void TransferRun::end_obsolete() {
  for (const auto& connection : connections_) {
    if (!connection->active) {
      continue;
    }
    const bool superseded = fell_back_ && !connection->whole_file;
    const bool done = !connection->whole_file && connection->position < connection->end &&
                      map_.filled(ByteRange{connection->position, connection->end});
    if (superseded || done) {
      stop(*connection);
    }
  }
  if (fell_back_) {
    // Of several whole-file streams one is enough.
    RangeConnection* kept = nullptr;
    for (const auto& connection : connections_) {
      if (connection->active && kept != nullptr) {
        stop(*connection);
      } else if (connection->active) {
        kept = connection.get();
      }
    }
    fell_back_ = false;
  }
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
  if (new_bytes_ - noted_bytes_ >= kLiveNoteBytes) {
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
