/// The way back: events of the engine become the bytes of an answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/engine/messages.h"
#include "server/api/api_error.h"

namespace lm::api {

/// The two clocks, read by the carrier.
struct Moment {
  std::int64_t unix_ns = 0;    ///< wall clock
  std::int64_t steady_ns = 0;  ///< for durations
};

/// How the bytes of a body follow each other.
enum class Framing : std::uint8_t {
  whole,   ///< one piece with a length
  ndjson,  ///< lines
  sse      ///< events
};

/// Status line and headers, once they are known.
struct Head {
  int status = 200;
  Framing framing = Framing::whole;
  std::string_view content_type = "application/json";
  std::string headers;  ///< further ones ("X-LM-Warnings: …"), each ends with CR LF
};

/// What goes to the client now.
struct Output {
  std::optional<Head> head;  ///< in the first output that has bytes
  std::string bytes;
  bool last = false;  ///< nothing follows; jobs that still run are to be cancelled
};

/// The state machine of one answer. Jobs are the commands of its `Work`, by index. One thread at a
/// time; never blocks. After an output with `last` nothing may be called.
class Answer {
 public:
  virtual ~Answer() = default;

  /// Called once, before any event. An answer without jobs (loading, counting) ends here.
  virtual Output begin(Moment now) = 0;
  /// The next event of a job.
  virtual Output take(std::size_t job, Event event, Moment now) = 0;
  /// The carrier can't go on: a status when nothing was sent yet, else an error frame.
  virtual Output fail(const ApiError& error, Moment now) = 0;
  /// Something harmless for a client that has waited long; empty where its API knows no such thing.
  /// Sends the head when that has not gone out: errors can't be a status any more.
  virtual Output ping(Moment now) = 0;
};

}  // namespace lm::api
