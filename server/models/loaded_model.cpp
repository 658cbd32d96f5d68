#include "server/models/loaded_model.h"

namespace lm::server {

RunnerReady LoadedModel::ready() const {
  const std::lock_guard lock(mutex_);
  return ready_;
}

RunnerFigures LoadedModel::figures() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

void LoadedModel::set_ready(RunnerReady ready) {
  const std::lock_guard lock(mutex_);
  ready_ = std::move(ready);
}

void LoadedModel::set_figures(RunnerFigures figures) {
  const std::lock_guard lock(mutex_);
  figures_ = figures;
}

RequestId LoadedModel::submit(Command command, EventSink sink) {
  static std::atomic<RequestId> next_id{1};
  const RequestId id = next_id.fetch_add(1);
  std::visit([id](auto& c) { c.id = id; }, command);
  {
    const std::lock_guard lock(mutex_);
    sinks_.emplace(id, std::make_shared<EventSink>(std::move(sink)));
  }
  if (!runner_ || !runner_->send(command)) {
    Event event;
    event.id = id;
    event.kind = Event::Kind::error;
    event.error = {ErrorCode::device_lost, source_->name, "its process has ended",
                   "send the request again"};
    deliver(std::move(event));
  }
  return id;
}

void LoadedModel::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    if (sinks_.erase(id) == 0) {
      return;
    }
  }
  if (runner_) {
    runner_->send(Cancel{id});
  }
}

void LoadedModel::credit(RequestId id, std::uint32_t n) {
  if (runner_) {
    runner_->send(Credit{id, n});
  }
}

void LoadedModel::deliver(Event event) {
  const bool last = event.kind == Event::Kind::done || event.kind == Event::Kind::error;
  if (event.kind == Event::Kind::error && (event.error.code == ErrorCode::out_of_memory ||
                                           event.error.code == ErrorCode::device_lost)) {
    spoilt_ = true;
  }
  std::shared_ptr<EventSink> sink;
  {
    const std::lock_guard lock(mutex_);
    const auto found = sinks_.find(event.id);
    if (found == sinks_.end()) {
      return;
    }
    sink = found->second;
    if (last) {
      sinks_.erase(found);
    }
  }
  (*sink)(std::move(event));
}

void LoadedModel::fail_all(const Error& error) {
  spoilt_ = true;
  std::map<RequestId, std::shared_ptr<EventSink>> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(sinks_);
  }
  for (const auto& [id, sink] : all) {
    Event event;
    event.id = id;
    event.kind = Event::Kind::error;
    event.error = error;
    (*sink)(std::move(event));
  }
}

}  // namespace lm::server
