/// The inside of Engine: what its loop and its carrier share.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "runtime/engine/draft_model.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/generation.h"
#include "runtime/engine/output_format.h"
#include "runtime/engine/prefix_cache.h"
#include "runtime/engine/scheduler.h"

namespace lm {

struct Arrival {
  Command command;
  Clock::time_point time;
  std::shared_ptr<CompiledFormat> format;  ///< of a request that has one
};

struct Engine::Impl {
  std::shared_ptr<const Model> model;
  EngineOptions options;
  std::unique_ptr<Session> session;
  std::unique_ptr<DraftModel> drafter;
  std::vector<std::string> notes;
  std::size_t width = 0;  ///< of a row that a step gives

  // Carrier. `mutex` guards the inbox, the outboxes, `in_step` and `closing`.
  std::mutex mutex;
  std::condition_variable work, event;
  std::deque<Arrival> inbox;
  std::map<RequestId, std::deque<Event>>
      outbox;                      ///< an entry lives from submit until its last event was taken
  std::vector<RequestId> in_step;  ///< whom the running step serves
  bool closing = false;
  StopFlag stop{false};
  EngineFigures figures;                  ///< as of the last step; guarded by `mutex`
  std::optional<FormatCompiler> formats;  ///< thread-safe

  // Loop thread only.
  std::deque<Arrival> waiting;  ///< of Request and Embed
  std::vector<std::unique_ptr<Generation>> active;
  std::vector<RequestId> cancelled;
  static constexpr std::size_t kCachedSequences = 4;
  PrefixCache cache{kCachedSequences};
  std::optional<Scheduler> scheduler;
  std::uint64_t next_order = 0;
  std::vector<float> logits;
  std::jthread thread;

  void loop();
  bool drain_inbox();
  void handle(Arrival arrival);
  void admit();
  Result<std::unique_ptr<Generation>> start(Command command, Clock::time_point time);
  std::uint32_t draft_limit(const Request& request) const;
  void draft();
  void find_past(Generation& generation);
  Result<void> attach_drafter();
  void cancel_now(RequestId id);
  bool step();
  void take_results(const std::vector<Scheduler::Pick>& picks);
  void step_failed(const std::vector<Scheduler::Pick>& picks, Error error);
  bool make_room();
  void resume_preempted();
  void deliver();
  void post(Event e);
  void note_figures();
};

}  // namespace lm
