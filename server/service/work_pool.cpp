#include "server/service/work_pool.h"

#include <exception>

namespace lm::server {

WorkPool::WorkPool(unsigned n_threads) {
  for (unsigned i = 0; i < n_threads; ++i) {
    threads_.emplace_back([this] { loop(); });
  }
}

WorkPool::~WorkPool() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  filled_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

void WorkPool::post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  filled_.notify_one();
}

void WorkPool::loop() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      filled_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) {
        return;
      }
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    try {
      work();
    } catch (const std::exception&) {
      // Want of memory: the exchange that the work held is dropped, which answers 500.
    }
  }
}

}  // namespace lm::server
