/// Frames over a socket pair between the server and a runner: a kind, a length, bytes.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "store/fd.h"

namespace lm::server {

enum class FrameKind : std::uint8_t {
  // to the runner
  load = 1,  ///< RunnerLoad, once, first
  session,   ///< SessionWish: another context, batch or KV type over the same weights
  command,   ///< a Command of the engine, encoded
  // from the runner
  progress,  ///< a stage of loading has begun; its name
  ready,     ///< RunnerReady: after `load` and after `session`
  failed,    ///< an error of `load` (the runner ends) or of `session` (the old one goes on)
  event,     ///< an Event of the engine, encoded
  figures,   ///< RunnerFigures, when they change
  last = figures
};

struct Frame {
  FrameKind kind = FrameKind::progress;
  std::string body;
};

class FrameChannel {
 public:
  explicit FrameChannel(store::Fd fd) : fd_(std::move(fd)) {}

  /// Thread-safe; blocks while the other side is behind. False: it is gone.
  bool send(FrameKind kind, std::string_view body);
  /// The next frame; nothing when the other side is gone or sends nonsense. One reader.
  std::optional<Frame> read();
  /// Makes a `read` that waits return nothing, now and from now on.
  void shut();

 private:
  bool fill(std::size_t bytes);

  store::Fd fd_;
  std::mutex mutex_;  // one frame is written at a time
  std::string in_;
  std::size_t taken_ = 0;
};

}  // namespace lm::server
