#include "server/runner/runner_main.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/prctl.h>
#include <unistd.h>

#include "backends/cpu/isa.h"
#include "backends/model_devices.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/loader.h"
#include "runtime/model/model.h"
#include "runtime/plan/model_shape.h"
#include "server/runner/frame_channel.h"
#include "server/runner/runner_words.h"

namespace lm::server {
namespace {

/// Sequences with recurrent state that are served at once, unless the user says how many: each
/// one's states are allocated at the start.
constexpr std::uint32_t kStateSequences = 4;

class Runner {
 public:
  explicit Runner(FrameChannel& channel)
      : channel_(channel), compiling_([this](const std::stop_token& s) { compile_loop(s); }) {}
  ~Runner() {
    compiling_.request_stop();
    wake_.notify_all();
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// False when there is nothing to go on with.
  bool take(const Frame& frame);

 private:
  Result<void> load(const RunnerLoad& wish);
  void choose_sequences(const GgufFile& file, const SessionWish& wish);
  SessionOptions session_options(const SessionWish& wish) const;
  Result<void> open(const SessionWish& wish);
  Result<void> start(const SessionOptions& session);
  void say_ready();
  void command(Command command);
  void submit(Command command, RequestId id);
  void compile_loop(const std::stop_token& stop);
  void on_event(const Event& event);
  void fail_request(RequestId id, Error error);

  FrameChannel& channel_;
  std::shared_ptr<const Model> model_;
  SessionWish wish_;
  std::mutex engine_mutex_;  // guards the exchange of `engine_` against the compiling thread
  std::unique_ptr<Engine> engine_;
  std::atomic<Engine*> current_{nullptr};  ///< for the loop's thread, which ends before its engine
  Placement placement_;
  std::vector<std::string> notes_;    ///< of loading
  std::vector<std::string> reasons_;  ///< why what went where
  bool has_state_ = false;
  std::uint32_t parallel_ = 0;
  std::uint32_t sessions_ = 0;
  std::uint32_t weight_loads_ = 0;
  std::mutex figures_mutex_;  // guards what was said last: by the loop's thread, or `say_ready`
  RunnerFigures last_figures_;

  // Requests whose format takes time to compile go to the engine from a thread of their own, so
  // that others' commands don't wait behind them.
  std::mutex mutex_;  // guards the three below
  std::condition_variable wake_;
  std::deque<Request> to_compile_;
  std::set<RequestId> compiling_ids_;
  std::set<RequestId> cancelled_;
  std::jthread compiling_;
};

Result<void> Runner::load(const RunnerLoad& wish) {
  channel_.send(FrameKind::progress, "reading");
  std::vector<std::unique_ptr<ByteSource>> parts;
  for (std::size_t i = 0; i < wish.labels.size(); ++i) {
    LM_TRY(auto part, map_fd(kRunnerFirstModelFd + static_cast<int>(i), wish.labels[i]));
    parts.push_back(std::move(part));
  }
  LM_TRY(GgufFile file, GgufFile::read(std::move(parts)));
  DiscoverOptions discover;
  discover.cpu.n_threads = wish.n_threads;
  discover.cpu.memory_limit = wish.memory_limit;
  if (!wish.isa.empty()) {
    discover.cpu.isa_limit = parse_isa(wish.isa);
  }
  LM_TRY(ModelDevices devices, open_model_devices(wish.devices, discover));
  notes_ = devices.notes;
  channel_.send(FrameKind::progress, "weights");
  const auto shared = std::make_shared<const GgufFile>(std::move(file));
  choose_sequences(*shared, wish.session);
  LoadWish plan{.session = session_options(wish.session),
                .gpu_layers = wish.gpu_layers,
                .gpu_overhead = wish.gpu_overhead,
                .gpu_required = devices.gpu_named};
  const auto begin = [this](std::shared_ptr<const Model> model,
                            const SessionOptions& placed) -> Result<void> {
    model_ = std::move(model);
    placement_ = placed.placement;
    auto started = start(placed);
    if (!started) {
      model_.reset();  // what is planned next needs its memory
    }
    return started;
  };
  LM_TRY(const LoadOutcome outcome, load_planned(shared, std::move(devices.devices), plan, begin));
  ++weight_loads_;
  model_ = outcome.model;
  reasons_ = outcome.reasons;
  wish_ = wish.session;
  notes_.insert(notes_.end(), outcome.replans.begin(), outcome.replans.end());
  return {};
}

/// How many requests are served at once, and how many of them have their context for certain.
void Runner::choose_sequences(const GgufFile& file, const SessionWish& wish) {
  const auto shape = ModelShape::read(file);  // what is wrong with it, loading says
  has_state_ = shape && shape->hparams().state_bytes() > 0;
  parallel_ = wish.n_parallel > 0 ? std::min<std::uint32_t>(wish.n_parallel, kMaxActiveRequests)
              : has_state_        ? kStateSequences
                                  : static_cast<std::uint32_t>(kMaxActiveRequests);
}

SessionOptions Runner::session_options(const SessionWish& wish) const {
  return {.n_ctx = wish.n_ctx,
          .n_batch = wish.n_batch,
          .kv_type = wish.kv_type,
          .n_seq_guaranteed = wish.n_parallel > 0 || has_state_ ? parallel_ : 1,
          .n_seq_most = parallel_,
          .placement = placement_};
}

/// Another session over the weights that are there.
Result<void> Runner::open(const SessionWish& wish) {
  LM_CHECK(start(session_options(wish)));
  wish_ = wish;
  return {};
}

Result<void> Runner::start(const SessionOptions& session) {
  EngineOptions options;
  options.session = session;
  options.max_queue = 4096;  // the server keeps the queue; this only bounds nonsense
  options.sink = [this](const Event& event) { on_event(event); };
  const std::lock_guard lock(engine_mutex_);
  current_ = nullptr;
  engine_.reset();  // its memory is what the next one needs
  auto made = Engine::create(model_, options);
  if (!made) {
    return std::unexpected(std::move(made).error());
  }
  engine_ = std::move(*made);
  current_ = engine_.get();
  ++sessions_;
  return {};
}

void Runner::say_ready() {
  RunnerReady ready{.n_ctx = engine_->n_ctx(),
                    .n_batch = wish_.n_batch,
                    .parallel = parallel_,
                    .embeds = engine_->embeds(),
                    .weight_loads = weight_loads_,
                    .sessions = sessions_,
                    .devices = {},
                    .notes = engine_->notes(),
                    .plan = engine_->placement_lines()};
  ready.plan.insert(ready.plan.end(), reasons_.begin(), reasons_.end());
  const auto& devices = model_->devices();
  for (std::size_t d = 0; d < devices.size(); ++d) {
    const DeviceInfo info = devices[d]->info();
    ready.devices.push_back(
        {.id = info.id,
         .detail = info.detail,
         .gpu = info.kind == DeviceKind::cuda || info.kind == DeviceKind::vulkan,
         .weight_bytes = model_->weights().bytes(static_cast<std::uint16_t>(d))});
  }
  ready.notes.insert(ready.notes.begin(), model_->warnings().begin(), model_->warnings().end());
  ready.notes.insert(ready.notes.begin(), notes_.begin(), notes_.end());
  const EngineFigures now = engine_->figures();
  {
    const std::lock_guard lock(figures_mutex_);
    last_figures_ = {now.kv_bytes, now.work_bytes};
    channel_.send(FrameKind::figures, encode(last_figures_));
  }
  channel_.send(FrameKind::ready, encode(ready));
}

void Runner::on_event(const Event& event) {
  const bool last = event.kind == Event::Kind::done || event.kind == Event::Kind::error;
  if (const Engine* engine = current_.load(); last && engine != nullptr) {
    const EngineFigures now = engine->figures();
    const RunnerFigures figures{now.kv_bytes, now.work_bytes};
    const std::lock_guard lock(figures_mutex_);
    if (figures != last_figures_) {
      last_figures_ = figures;
      channel_.send(FrameKind::figures, encode(figures));
    }
  }
  channel_.send(FrameKind::event, lm::encode(event));
}

void Runner::fail_request(RequestId id, Error error) {
  Event event;
  event.id = id;
  event.kind = Event::Kind::error;
  event.error = std::move(error);
  channel_.send(FrameKind::event, lm::encode(event));
}

void Runner::submit(Command command, RequestId id) {
  if (auto taken = engine_->submit(std::move(command)); !taken) {
    fail_request(id, std::move(taken).error());
  }
}

void Runner::compile_loop(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stop.stop_requested() || !to_compile_.empty(); });
    if (stop.stop_requested()) {
      return;
    }
    Request request = std::move(to_compile_.front());
    to_compile_.pop_front();
    const RequestId id = request.id;
    lock.unlock();
    {
      const std::lock_guard engine_lock(engine_mutex_);
      submit(std::move(request), id);
      lock.lock();
      compiling_ids_.erase(id);
      if (cancelled_.erase(id) > 0) {
        engine_->cancel(id);
      }
    }
  }
}

void Runner::command(Command command) {
  if (auto* request = std::get_if<Request>(&command);
      request != nullptr && (request->format.kind != OutputFormat::Kind::none ||
                             request->tool_choice != ToolChoice::automatic)) {
    const std::lock_guard lock(mutex_);
    compiling_ids_.insert(request->id);
    to_compile_.push_back(std::move(*request));
    wake_.notify_all();
    return;
  }
  if (const auto* cancel = std::get_if<Cancel>(&command)) {
    const std::lock_guard lock(mutex_);
    if (compiling_ids_.contains(cancel->id)) {
      cancelled_.insert(cancel->id);
      return;
    }
  }
  const RequestId id = std::visit([](const auto& c) { return c.id; }, command);
  submit(std::move(command), id);
}

bool Runner::take(const Frame& frame) {
  if (frame.kind == FrameKind::load) {
    const auto wish = decode_load(frame.body);
    const auto loaded = wish ? load(*wish)
                             : Result<void>(lm::fail(ErrorCode::invalid_argument, "runner",
                                                     "the server's order makes no sense"));
    if (!loaded) {
      channel_.send(FrameKind::failed, encode_error(loaded.error()));
      return false;
    }
    say_ready();
    return true;
  }
  if (!engine_) {
    return false;
  }
  if (frame.kind == FrameKind::session) {
    const auto wish = decode_session(frame.body);
    if (!wish) {
      return false;
    }
    const SessionWish before = wish_;
    if (auto opened = open(*wish); !opened) {
      const Error why = std::move(opened).error();
      if (auto back = open(before); !back) {
        channel_.send(FrameKind::failed, encode_error(back.error()));
        return false;
      }
      channel_.send(FrameKind::failed, encode_error(why));
      return true;
    }
    say_ready();
    return true;
  }
  if (frame.kind == FrameKind::command) {
    auto decoded = decode_command(frame.body);
    if (!decoded) {
      return false;
    }
    command(std::move(*decoded));
    return true;
  }
  return false;
}

}  // namespace

int runner_main() {
  // A terminal's Ctrl+C and a service manager's TERM reach the whole group: the server decides when
  // a runner ends, by closing its end of the channel.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_NAME, "lm-runner");
  FrameChannel channel{store::Fd(kRunnerChannelFd)};
  {
    Runner runner(channel);
    while (auto frame = channel.read()) {
      if (!runner.take(*frame)) {
        break;
      }
    }
    // The server is gone or lets go. What is under way is nobody's any more, and the system takes
    // memory back faster than destructors do.
    ::_exit(0);
  }
}

}  // namespace lm::server
