/// A few threads for what may take its time: reading bodies, rendering prompts, the store.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lm::server {

class WorkPool {
 public:
  explicit WorkPool(unsigned n_threads);
  ~WorkPool();  ///< finishes what is queued
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;
  void post(std::function<void()> work);

 private:
  void loop();
  std::mutex mutex_;  // guards the two below
  std::condition_variable filled_;
  std::deque<std::function<void()>> queue_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lm::server
