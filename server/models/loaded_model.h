/// A model in a runner: the road of commands and events.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "server/models/model_source.h"
#include "server/runner/runner_process.h"

namespace lm::server {

/// Takes the events of one command, on the runner's thread. The last is `done` or `error`; a runner
/// that dies says `error` to everybody.
using EventSink = std::function<void(Event)>;

/// What only a load decides; a later request that asks for something else is told so.
struct LoadedWith {
  std::optional<std::uint32_t> n_threads = {};
  std::optional<std::int32_t> gpu_layers = {};
};

class LoadedModel {
 public:
  LoadedModel(std::shared_ptr<const ModelSource> source, std::uint64_t serial, LoadedWith with)
      : source_(std::move(source)), serial_(serial), with_(with) {}

  const ModelSource& source() const { return *source_; }
  const LoadedWith& loaded_with() const { return with_; }
  /// Never given twice, as an address may be.
  std::uint64_t serial() const { return serial_; }
  std::shared_ptr<const ModelSource> shared_source() const { return source_; }
  RunnerReady ready() const;
  RunnerFigures figures() const;

  /// Sends a Request or Embed under a number of its own and returns that.
  RequestId submit(Command command, EventSink sink);
  /// No event comes any more once it returns, but one that is being taken just now.
  void cancel(RequestId id);
  void credit(RequestId id, std::uint32_t n);

  /// Set by an event that makes the model useless: it is unloaded once nobody holds it.
  bool is_spoilt() const { return spoilt_.load(); }

  // For Models, which starts and ends the runner.
  void attach(std::unique_ptr<RunnerProcess> runner) { runner_ = std::move(runner); }
  RunnerProcess* runner() const { return runner_.get(); }
  void set_ready(RunnerReady ready);
  void set_figures(RunnerFigures figures);
  void deliver(Event event);
  void fail_all(const Error& error);

 private:
  std::shared_ptr<const ModelSource> source_;
  const std::uint64_t serial_;
  const LoadedWith with_;
  mutable std::mutex mutex_;  // guards the three below
  RunnerReady ready_;
  RunnerFigures figures_;
  std::map<RequestId, std::shared_ptr<EventSink>> sinks_;
  std::atomic<bool> spoilt_{false};
  std::unique_ptr<RunnerProcess> runner_;  ///< last: its thread uses what is above
};

}  // namespace lm::server
