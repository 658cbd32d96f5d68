/// A runner as the server sees it: a child process, and what it says.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include <sys/types.h>

#include "backends/error.h"
#include "runtime/engine/messages.h"
#include "server/runner/frame_channel.h"
#include "server/runner/runner_words.h"

namespace lm::server {

/// What a runner says. Called on its reader's thread, one at a time; `on_end` is the last.
struct RunnerListener {
  std::function<void(std::string stage)> on_progress;
  std::function<void(RunnerReady)> on_ready;
  std::function<void(Error)> on_failed;  ///< of a load (the end follows) or of a session
  std::function<void(Event)> on_event;
  std::function<void(RunnerFigures)> on_figures;
  std::function<void(std::string how)> on_end;  ///< "was killed by signal 9", "ended with 1"
};

class RunnerProcess {
 public:
  /// Starts `program` (empty: this one) as a runner that has the model's files open and nothing
  /// else of ours, and none of our secrets in its environment. Errors: io.
  static Result<std::unique_ptr<RunnerProcess>> spawn(const std::string& program,
                                                      const std::string& model_name,
                                                      std::span<const int> model_fds,
                                                      RunnerListener listener);
  /// Ends the process, at once, and waits for it. Not from the listener.
  ~RunnerProcess();
  RunnerProcess(const RunnerProcess&) = delete;
  RunnerProcess& operator=(const RunnerProcess&) = delete;

  pid_t pid() const { return pid_; }
  // False: it is gone; `on_end` says how.
  bool load(const RunnerLoad& wish) { return channel_.send(FrameKind::load, encode(wish)); }
  bool session(const SessionWish& wish) { return channel_.send(FrameKind::session, encode(wish)); }
  bool send(const Command& command) {
    return channel_.send(FrameKind::command, lm::encode(command));
  }
  void kill() { channel_.shut(); }  ///< its reader does the rest

 private:
  RunnerProcess(pid_t pid, store::Fd channel, RunnerListener listener);
  void read_loop();

  pid_t pid_;
  FrameChannel channel_;
  RunnerListener listener_;
  std::thread reader_;
};

}  // namespace lm::server
