#include "server/service/call.h"

#include <random>

#include <fmt/format.h>

namespace lm::server {
namespace {

/// Commands of one request that are with the engine at once: a list of a thousand texts must not
/// fill the queue that others wait in.
constexpr std::size_t kJobsAtOnce = 16;

api::Moment now() {
  return {.unix_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count(),
          .steady_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                           std::chrono::steady_clock::now().time_since_epoch())
                           .count()};
}

std::vector<std::pair<std::string, std::string>> fields_of(std::string_view lines) {
  std::vector<std::pair<std::string, std::string>> fields;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find("\r\n"), lines.size());
    const std::string_view line = lines.substr(0, end);
    if (const std::size_t colon = line.find(": "); colon != std::string_view::npos) {
      fields.emplace_back(line.substr(0, colon), line.substr(colon + 2));
    }
    lines.remove_prefix(std::min(end + 2, lines.size()));
  }
  return fields;
}

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

/// An error of waiting for a model.
api::ApiError load_error(const Error& error) {
  api::ApiError out = api::api_error(error);
  if (error.code == ErrorCode::out_of_memory) {
    out.status = 507;
    out.code = "out_of_memory";
  } else if (error.code == ErrorCode::busy) {
    out.status = 503;
    out.message = "server busy: too many requests are waiting, try again later";
  } else if (out.status == 400) {
    out.status = 500;  // the stored model is bad, not the request
  }
  return out;
}

}  // namespace

void CallBook::add(const std::shared_ptr<Call>& call) {
  const std::uint64_t id = call->row().id;
  const std::lock_guard lock(mutex_);
  calls_[id] = call;
}

void CallBook::remove(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  calls_.erase(id);
}

std::vector<std::shared_ptr<Call>> CallBook::all() const {
  std::vector<std::shared_ptr<Call>> calls;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, weak] : calls_) {
    if (auto call = weak.lock()) {
      calls.push_back(std::move(call));
    }
  }
  return calls;
}

std::vector<CallRow> CallBook::rows() const {
  std::vector<CallRow> rows;
  for (const auto& call : all()) {
    rows.push_back(call->row());
  }
  std::ranges::sort(rows, {}, &CallRow::id);
  return rows;
}

bool CallBook::stop(std::uint64_t id, const api::ApiError& error) {
  bool found = false;
  for (const auto& call : all()) {
    if (id == 0 || call->row().id == id) {
      call->stop(error);
      found = true;
    }
  }
  return found;
}

void CallBook::ping(std::chrono::steady_clock::time_point silent_since) {
  for (const auto& call : all()) {
    call->ping(silent_since);
  }
}

Call::Call(const CallTools& tools, std::shared_ptr<Exchange> exchange, api::Endpoint endpoint)
    : tools_(tools),
      exchange_(std::move(exchange)),
      id_(exchange_->id()),
      endpoint_(endpoint),
      began_(Clock::now()),
      arrived_(now()),
      last_bytes_(began_) {}

void Call::start(const CallTools& tools, std::shared_ptr<Exchange> exchange,
                 api::Endpoint endpoint) {
  const std::shared_ptr<Call> call(new Call(tools, std::move(exchange), endpoint));
  tools.book.add(call);
  call->exchange_->on_closed([weak = std::weak_ptr(call)] {
    if (const auto self = weak.lock()) {
      self->gone();
    }
  });
  tools.pool.post([call] { call->prepare(); });
}

void Call::prepare() {
  const std::shared_ptr<Exchange> exchange = [this] {
    const std::lock_guard lock(mutex_);
    return exchange_;
  }();
  if (!exchange) {
    return;
  }
  auto asked = api::read(endpoint_, exchange->body());
  if (!asked) {
    return refuse(asked.error());
  }
  auto stored = tools_.library.open(asked->model);
  if (!stored) {
    return refuse(stored.error());
  }
  const std::lock_guard lock(mutex_);
  if (finished_) {
    return;
  }
  asked_ = std::move(*asked);
  stored_ = std::move(*stored);
  model_name_ = stored_->source->name;
  if (asked_.purpose == api::Purpose::unload) {
    tools_.models.unload(model_name_);
    return run(nullptr);
  }
  state_ = "waiting";
  const api::LoadAsked load = api::load_of(asked_, stored_->facts);
  ModelWish wish{.n_ctx = load.n_ctx,
                 .n_batch = load.n_batch,
                 .n_threads = load.n_threads,
                 .gpu_layers = load.gpu_layers,
                 .keep_for = {}};
  if (load.keep_alive) {
    wish.keep_for = KeepFor{.forever = load.keep_alive->forever, .time = load.keep_alive->value};
  }
  ticket_ = tools_.models.acquire(
      stored_->source, wish, [self = shared_from_this()](Result<std::shared_ptr<Hold>> hold) {
        auto moved = std::make_shared<Result<std::shared_ptr<Hold>>>(std::move(hold));
        self->tools_.pool.post([self, moved] { self->held(std::move(*moved)); });
      });
}

void Call::held(Result<std::shared_ptr<Hold>> hold) {
  if (!hold) {
    return refuse(load_error(hold.error()));
  }
  run(std::move(*hold));
}

void Call::run(std::shared_ptr<Hold> hold) {
  api::ModelFacts facts;
  {
    const std::lock_guard lock(mutex_);
    if (finished_) {
      return;
    }
    facts = stored_->facts;
    if (hold) {
      const LoadedWith& with = hold->model().loaded_with();
      warn_of_load("num_thread", asked_.load.n_threads, with.n_threads);
      warn_of_load("num_gpu", asked_.load.gpu_layers, with.gpu_layers);
    }
  }
  if (hold) {
    const RunnerReady ready = hold->model().ready();
    facts.n_ctx = ready.n_ctx;
    facts.embeds = ready.embeds;
    facts.load_ns = hold->load_ns();
  }
  // Takes as long as tokenizing: without the lock, so that a client that goes is noticed.
  auto work = api::plan(asked_, facts, {.arrived = arrived_, .id_seed = random_seed()});
  if (!work) {
    return refuse(work.error());
  }
  const std::lock_guard lock(mutex_);
  if (finished_) {
    return;
  }
  hold_ = std::move(hold);
  work_ = std::move(*work);
  ended_.assign(work_.commands.size(), false);
  state_ = "running";
  deliver(work_.answer->begin(now()), 0);
  submit_more();
}

template <class T>
void Call::warn_of_load(const char* option, const std::optional<T>& asked,
                        const std::optional<T>& loaded) {
  if (asked && asked != loaded) {
    asked_.warnings.push_back(fmt::format(
        "{} counts when a model is loaded, and this one was loaded already: it stays as it is",
        option));
  }
}

void Call::submit_more() {
  while (!finished_ && n_running_ < kJobsAtOnce && next_job_ < work_.commands.size()) {
    const std::size_t job = next_job_++;
    ++n_running_;
    const RequestId id = hold_->model().submit(
        std::move(work_.commands[job]),
        [self = shared_from_this(), job](Event event) { self->on_event(job, std::move(event)); });
    if (!finished_ && !ended_[job]) {
      running_[id] = job;
    }
  }
}

void Call::on_event(std::size_t job, Event event) {
  const std::lock_guard lock(mutex_);
  if (finished_) {
    return;
  }
  ++n_events_;
  const RequestId id = event.id;
  const bool last = event.kind == Event::Kind::done || event.kind == Event::Kind::error;
  if (last) {
    running_.erase(id);
    ended_[job] = true;
    --n_running_;
  }
  deliver(work_.answer->take(job, std::move(event), now()), last ? 0 : id);
  submit_more();
}

/// Sends what an answer says; the event behind it is paid back once its bytes have left.
void Call::deliver(api::Output out, RequestId credit_to) {
  if (out.head) {
    head_ = out.head;
    streaming_ = out.head->framing != api::Framing::whole;
    if (streaming_) {
      exchange_->begin({.status = head_->status,
                        .content_type = std::string(head_->content_type),
                        .fields = fields_of(head_->headers)});
    }
  }
  const auto credit = [weak = std::weak_ptr(hold_), credit_to] {
    if (const auto hold = weak.lock(); hold && credit_to != 0) {
      hold->model().credit(credit_to, 1);
    }
  };
  if (!out.bytes.empty()) {
    last_bytes_ = Clock::now();
  }
  if (streaming_ && !out.bytes.empty()) {
    exchange_->write(std::move(out.bytes), credit);
  } else {
    whole_ += out.bytes;
    credit();
  }
  if (!out.last) {
    return;
  }
  if (streaming_) {
    exchange_->end();
  } else if (head_) {
    exchange_->reply({.status = head_->status,
                      .content_type = std::string(head_->content_type),
                      .fields = fields_of(head_->headers)},
                     std::move(whole_));
  }
  finish();
}

void Call::refuse(const api::ApiError& error) {
  const std::lock_guard lock(mutex_);
  if (finished_) {
    return;
  }
  if (work_.answer) {
    return deliver(work_.answer->fail(error, now()), 0);
  }
  exchange_->reply({.status = error.status, .fields = fields_of(api::retry_headers(error))},
                   api::error_body(api::dress_of(endpoint_), error, fmt::format("req_{}", id_)));
  finish();
}

void Call::stop(const api::ApiError& error) {
  refuse(error);
}

void Call::ping(Clock::time_point silent_since) {
  const std::lock_guard lock(mutex_);
  if (!finished_ && work_.answer && asked_.stream && last_bytes_ < silent_since) {
    last_bytes_ = Clock::now();
    deliver(work_.answer->ping(now()), 0);
  }
}

void Call::gone() {
  const std::lock_guard lock(mutex_);
  finish();
}

/// Nothing more is sent; what still runs is cancelled.
void Call::finish() {
  if (finished_) {
    return;
  }
  finished_ = true;
  if (hold_) {
    for (const auto& [id, job] : running_) {
      hold_->model().cancel(id);
    }
  } else if (ticket_) {
    tools_.models.abandon(*ticket_);
  }
  running_.clear();
  hold_.reset();
  exchange_.reset();
  tools_.book.remove(id_);
}

CallRow Call::row() const {
  const std::lock_guard lock(mutex_);
  return {.id = id_,
          .model = model_name_,
          .path = exchange_ ? exchange_->head().path : std::string(),
          .peer = exchange_ ? exchange_->peer() : std::string(),
          .state = state_,
          .age = Clock::now() - began_,
          .tokens = n_events_};
}

}  // namespace lm::server
