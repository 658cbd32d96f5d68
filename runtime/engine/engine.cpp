#include "runtime/engine/engine.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/core.h>

#include "runtime/engine/generation.h"
#include "runtime/engine/prefix_cache.h"
#include "runtime/engine/scheduler.h"

namespace lm {
namespace {

/// Requests that are served at once; more wait in the queue. Each costs pages only as it grows.
constexpr std::size_t kMaxActive = 16;
constexpr std::size_t kCachedSequences = 4;

struct Arrival {
  Command command;
  Clock::time_point time;
  std::shared_ptr<CompiledFormat> format;  ///< of a request that has one
};

struct Waiting {
  Request request;
  Clock::time_point time;
  std::shared_ptr<CompiledFormat> format;
};

}  // namespace

struct Engine::Impl {
  std::shared_ptr<const Model> model;
  EngineOptions options;
  std::unique_ptr<Session> session;

  // Carrier. `mutex` guards the inbox, the outboxes, `in_step` and `closing`.
  std::mutex mutex;
  std::condition_variable work, event;
  std::deque<Arrival> inbox;
  std::map<RequestId, std::deque<Event>>
      outbox;                      ///< an entry lives from submit until its last event was taken
  std::vector<RequestId> in_step;  ///< whom the running step serves
  bool closing = false;
  StopFlag stop{false};
  std::optional<FormatCompiler> formats;  ///< thread-safe

  // Loop thread only.
  std::deque<Waiting> waiting;
  std::vector<std::unique_ptr<Generation>> active;
  std::vector<RequestId> cancelled;
  PrefixCache cache{kCachedSequences};
  std::optional<Scheduler> scheduler;
  std::uint64_t next_order = 0;
  std::vector<float> logits;
  std::jthread thread;

  void loop();
  bool drain_inbox();
  void handle(Arrival arrival);
  void admit();
  void cancel_now(RequestId id);
  bool step();
  void take_results(const std::vector<Scheduler::Pick>& picks);
  void step_failed(const std::vector<Scheduler::Pick>& picks, Error error);
  bool make_room();
  void resume_preempted();
  void deliver();
  void post(Event e);
};

void Engine::Impl::post(Event e) {
  {
    const std::lock_guard lock(mutex);
    const auto box = outbox.find(e.id);
    if (box != outbox.end()) {
      box->second.push_back(std::move(e));
    }
  }
  event.notify_all();
}

/// Moves events to readers as far as their credit goes; retires requests whose last event is out.
void Engine::Impl::deliver() {
  for (auto& generation : active) {
    std::size_t n = std::min<std::size_t>(generation->credit, generation->events.size());
    generation->credit -= static_cast<std::uint32_t>(n);
    for (std::size_t i = 0; i < n; ++i) {
      post(std::move(generation->events[i]));
    }
    generation->events.erase(generation->events.begin(),
                             generation->events.begin() + static_cast<std::ptrdiff_t>(n));
    if (generation->finished() && generation->sequence) {
      cache.put(generation->tokens(), std::move(generation->sequence));
      resume_preempted();
    }
  }
  std::erase_if(active, [](const auto& g) { return g->finished() && g->events.empty(); });
}

/// Takes commands; sleeps when there is nothing to do. False when the engine closes.
bool Engine::Impl::drain_inbox() {
  std::deque<Arrival> arrived;
  {
    std::unique_lock lock(mutex);
    const bool can_run = !scheduler->next(active).empty();
    if (!can_run && (waiting.empty() || active.size() >= kMaxActive)) {
      work.wait(lock, [&] { return closing || !inbox.empty(); });
    }
    if (closing) {
      return false;
    }
    arrived.swap(inbox);
    stop = false;
  }
  for (Arrival& arrival : arrived) {
    handle(std::move(arrival));
  }
  return true;
}

void Engine::Impl::handle(Arrival arrival) {
  if (auto* request = std::get_if<Request>(&arrival.command)) {
    waiting.push_back({std::move(*request), arrival.time, std::move(arrival.format)});
  } else if (const auto* cancel = std::get_if<Cancel>(&arrival.command)) {
    cancel_now(cancel->id);
  } else if (const auto* credit = std::get_if<Credit>(&arrival.command)) {
    for (auto& generation : active) {
      if (generation->id() == credit->id) {
        generation->credit += credit->n;
      }
    }
  }
}

void Engine::Impl::cancel_now(RequestId id) {
  for (auto& generation : active) {
    if (generation->id() == id) {
      generation->finish(Finish::cancelled);
      return;
    }
  }
  const auto queued = std::find_if(waiting.begin(), waiting.end(),
                                   [&](const Waiting& w) { return w.request.id == id; });
  if (queued != waiting.end()) {
    Event done;
    done.id = id;
    done.kind = Event::Kind::done;
    done.finish = Finish::cancelled;
    waiting.erase(queued);
    post(std::move(done));
  }
}

void Engine::Impl::admit() {
  while (!waiting.empty() && active.size() < kMaxActive) {
    auto [request, time, format] = std::move(waiting.front());
    waiting.pop_front();
    const RequestId id = request.id;
    auto generation =
        Generation::start(std::move(request), *model->tokenizer(), session->n_ctx(), time);
    if (!generation) {
      Event failed;
      failed.id = id;
      failed.kind = Event::Kind::error;
      failed.error = std::move(generation).error();
      post(std::move(failed));
      continue;
    }
    Generation& g = **generation;
    if (format != nullptr) {
      g.guide(std::move(format));
    }
    g.sequence = cache.take(g.tokens());
    if (g.sequence) {
      g.set_cached(g.sequence->length());
    } else if (auto fresh = session->new_sequence(); fresh) {
      g.sequence = std::move(*fresh);
    } else {
      g.finish(std::move(fresh).error());
    }
    g.order = next_order++;
    active.push_back(std::move(*generation));
  }
}

/// Frees pages: idle sequences first, then those of the youngest request, which waits until another
/// one has finished and is then evaluated again. False: there is nothing left to give up.
bool Engine::Impl::make_room() {
  if (cache.drop_oldest()) {
    return true;
  }
  Generation* youngest = nullptr;
  std::size_t candidates = 0;
  for (auto& generation : active) {
    if (!generation->finished() && !generation->preempted) {
      ++candidates;
      if (youngest == nullptr || generation->order > youngest->order) {
        youngest = generation.get();
      }
    }
  }
  if (candidates < 2) {
    return false;
  }
  youngest->preempted = true;
  youngest->sequence->clear();
  return true;
}

void Engine::Impl::resume_preempted() {
  for (auto& generation : active) {
    generation->preempted = false;
  }
}

bool Engine::Impl::step() {
  for (auto& generation : active) {
    if (!generation->finished() && generation->tokens().size() > session->n_ctx()) {
      generation->shift_context();
    }
  }
  const std::vector<Scheduler::Pick> picks = scheduler->next(active);
  if (picks.empty()) {
    return false;
  }
  static constexpr std::uint32_t kNone = 0;
  std::vector<std::uint32_t> last_row(picks.size());
  std::vector<BatchItem> items;
  std::uint32_t n_row = 0;
  {
    const std::lock_guard lock(mutex);
    in_step.clear();
    for (const Scheduler::Pick& pick : picks) {
      in_step.push_back(pick.generation->id());
    }
  }
  for (std::size_t i = 0; i < picks.size(); ++i) {
    Generation& g = *picks[i].generation;
    g.note_first_step();
    last_row[i] = picks[i].n_row - 1;
    const std::span<const std::uint32_t> outputs(&last_row[i], picks[i].wants_logits ? 1 : kNone);
    items.push_back({g.sequence.get(),
                     std::span(g.tokens()).subspan(g.sequence->length(), picks[i].n_row),
                     {},
                     outputs});
    n_row += picks[i].n_row;
  }
  const Clock::time_point begin = Clock::now();
  auto ran = session->step(items, stop, logits);
  {
    const std::lock_guard lock(mutex);
    in_step.clear();
  }
  if (!ran) {
    step_failed(picks, std::move(ran).error());
    return true;
  }
  scheduler->note(n_row, std::chrono::duration<double>(Clock::now() - begin).count());
  take_results(picks);
  return true;
}

void Engine::Impl::take_results(const std::vector<Scheduler::Pick>& picks) {
  const std::size_t n_vocab = model->n_vocab();
  std::size_t row = 0;
  for (const Scheduler::Pick& pick : picks) {
    if (pick.wants_logits) {
      pick.generation->take_logits(std::span(logits).subspan(row * n_vocab, n_vocab));
      ++row;
    }
  }
}

void Engine::Impl::step_failed(const std::vector<Scheduler::Pick>& picks, Error error) {
  // A cancelled step left everything as it was: the next one goes on without the request that is
  // gone.
  if (error.code == ErrorCode::cancelled ||
      (error.code == ErrorCode::out_of_memory && make_room())) {
    return;
  }
  for (const Scheduler::Pick& pick : picks) {
    pick.generation->finish(error);
  }
}

/// Steps 5 to 8 of the road: who is next, run, sample, text. One turn of this loop is one step.
void Engine::Impl::loop() {
  while (drain_inbox()) {
    admit();
    deliver();
    try {
      step();
    } catch (const std::bad_alloc&) {
      step_failed(scheduler->next(active),
                  Error{ErrorCode::out_of_memory, model->file().name(), "no memory is left"});
    }
    deliver();
  }
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const Model> model,
                                               const EngineOptions& options) {
  if (model->tokenizer() == nullptr) {
    return fail(ErrorCode::missing, fmt::format("{}: tokenizer.ggml.tokens", model->file().name()),
                "is not in the file; text needs a vocabulary");
  }
  auto impl = std::make_unique<Impl>();
  impl->model = model;
  impl->options = options;
  LM_TRY(impl->session, Session::create(std::move(model), options.session));
  impl->formats.emplace(*impl->model->tokenizer());
  impl->scheduler.emplace(impl->session->n_batch());
  impl->thread = std::jthread([raw = impl.get()] { raw->loop(); });
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Engine::~Engine() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
    impl_->stop = true;
  }
  impl_->work.notify_all();
  impl_->thread.join();
}

const Model& Engine::model() const {
  return *impl_->model;
}
std::uint32_t Engine::n_ctx() const {
  return impl_->session->n_ctx();
}

std::vector<std::string> Engine::placement_lines() const {
  std::vector<std::string> lines;
  const auto& devices = impl_->model->devices();
  for (std::uint16_t d = 0; d < devices.size(); ++d) {
    const DeviceInfo info = devices[d]->info();
    lines.push_back(fmt::format("{} ({}): weights {} MiB", info.id, info.detail,
                                impl_->model->weights().bytes(d) >> 20));
  }
  return lines;
}

Result<void> Engine::submit(Request request) {
  // On the caller's thread: a schema that takes its time holds up nobody else.
  std::shared_ptr<CompiledFormat> format;
  if (request.format.kind != OutputFormat::Kind::none) {
    LM_TRY(format, impl_->formats->compile(request.format));
  }
  {
    const std::lock_guard lock(impl_->mutex);
    if (request.id == 0 || impl_->outbox.contains(request.id)) {
      return fail(ErrorCode::invalid_argument, "request",
                  fmt::format("id {} is 0 or in use", request.id));
    }
    if (impl_->outbox.size() >= impl_->options.max_queue) {
      return fail(ErrorCode::busy, impl_->model->file().name(),
                  fmt::format("{} requests are waiting already", impl_->outbox.size()),
                  "try again later");
    }
    impl_->outbox.emplace(request.id, std::deque<Event>());
    impl_->inbox.push_back({std::move(request), Clock::now(), std::move(format)});
  }
  impl_->work.notify_one();
  return {};
}

void Engine::cancel(RequestId id) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->inbox.push_back({Cancel{id}, Clock::now(), nullptr});
    const auto& serving = impl_->in_step;
    if (std::find(serving.begin(), serving.end(), id) != serving.end()) {
      impl_->stop = true;
    }
  }
  impl_->work.notify_one();
}

std::optional<Event> Engine::next(RequestId id, std::chrono::milliseconds timeout) {
  std::unique_lock lock(impl_->mutex);
  const auto ready = [&] {
    const auto box = impl_->outbox.find(id);
    return box == impl_->outbox.end() || !box->second.empty();
  };
  if (!impl_->event.wait_for(lock, timeout, ready)) {
    return std::nullopt;
  }
  const auto box = impl_->outbox.find(id);
  if (box == impl_->outbox.end()) {
    return std::nullopt;
  }
  Event e = std::move(box->second.front());
  box->second.pop_front();
  if (e.kind == Event::Kind::done || e.kind == Event::Kind::error) {
    impl_->outbox.erase(box);
  } else {
    impl_->inbox.push_back({Credit{id, 1}, Clock::now(), nullptr});
    lock.unlock();
    impl_->work.notify_one();
  }
  return e;
}

}  // namespace lm
