/// How the requests of a download end: served, refused, failed, silent or no longer needed.
#include <algorithm>

#include <curl/curl.h>
#include <fmt/format.h>

#include "registry/retry.h"
#include "registry/transfer_run.h"

namespace lm::registry {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxRedirects = 10;
constexpr int kMaxExpiries = 3;

}  // namespace

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

}  // namespace lm::registry
