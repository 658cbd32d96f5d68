// The outside of Models: everything becomes a message to its thread.
#include "server/models/models.h"

#include <algorithm>
#include <future>

#include "server/models/models_impl.h"

namespace lm::server {

bool Inbox::post(std::function<void()> message) {
  {
    const std::lock_guard lock(mutex);
    if (closed) {
      return false;
    }
    messages.push_back(std::move(message));
  }
  filled.notify_one();
  return true;
}

Models::Models(ModelsOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  impl_->thread = std::thread([this] { impl_->loop(); });
}

Models::~Models() {
  close();
}

void Models::close() {
  if (!impl_->thread.joinable()) {
    return;
  }
  {
    const std::lock_guard lock(impl_->inbox->mutex);
    impl_->inbox->closed = true;
  }
  impl_->inbox->filled.notify_one();
  impl_->thread.join();
  const Error gone{ErrorCode::cancelled, "server", "is ending"};
  for (const auto& entry : impl_->entries) {
    for (Waiter& waiter : entry->waiting) {
      impl_->refuse(waiter, gone);
    }
    // Holds may outlive this; their runner may not.
    entry->model->attach(nullptr);
  }
  for (Waiter& waiter : impl_->unplaced) {
    impl_->refuse(waiter, gone);
  }
  impl_->entries.clear();
  impl_->unplaced.clear();
  // Who waits for an answer to a message that nobody reads any more learns it by a broken promise.
  std::deque<std::function<void()>> unread;
  {
    const std::lock_guard lock(impl_->inbox->mutex);
    unread.swap(impl_->inbox->messages);
  }
}

Ticket Models::acquire(std::shared_ptr<const ModelSource> source, const ModelWish& wish,
                       OnHold on_hold) {
  const Ticket ticket = impl_->next_ticket.fetch_add(1);
  auto waiter = std::make_shared<Waiter>(
      Waiter{ticket, std::move(source), wish, std::move(on_hold), Clock::now()});
  if (impl_->n_waiting.fetch_add(1) >= std::max(impl_->options.max_queue, 1u)) {
    impl_->refuse(*waiter, {ErrorCode::busy, waiter->source->name,
                            "server busy: too many requests are waiting", "try again later"});
    return ticket;
  }
  if (!impl_->inbox->post([impl = impl_.get(), waiter] { impl->add(std::move(*waiter)); })) {
    impl_->refuse(*waiter, {ErrorCode::cancelled, "server", "is ending"});
  }
  return ticket;
}

void Models::abandon(Ticket ticket) {
  impl_->inbox->post([impl = impl_.get(), ticket] { impl->drop(ticket); });
}

bool Models::unload(const std::string& name) {
  auto found = std::make_shared<std::promise<bool>>();
  std::future<bool> answer = found->get_future();
  const bool posted = impl_->inbox->post([impl = impl_.get(), name, found] {
    std::vector<Entry*> meant;
    for (const auto& entry : impl->entries) {
      if (entry->model->source().name == name) {
        meant.push_back(entry.get());
      }
    }
    for (Entry* entry : meant) {
      entry->leaving = true;
      if (entry->idle()) {
        impl->remove(entry);
      }
    }
    found->set_value(!meant.empty());
  });
  return posted && answer.get();
}

void Models::unload_all() {
  for (const LoadedRow& row : rows()) {
    unload(row.name);
  }
}

std::vector<LoadedRow> Models::rows() const {
  auto made = std::make_shared<std::promise<std::vector<LoadedRow>>>();
  auto answer = made->get_future();
  if (!impl_->inbox->post([impl = impl_.get(), made] { made->set_value(impl->rows()); })) {
    return {};
  }
  return answer.get();
}

std::uint32_t Models::waiting() const {
  return impl_->n_waiting.load();
}

}  // namespace lm::server
