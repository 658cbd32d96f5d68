/// Persistent workers that share the items of one parallel loop at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace lm::cpu {

/// One parallel-for and one barrier per call. Items are claimed one by one, so that a thread which
/// lost its core to another process delays only the item it holds. Waiting threads spin briefly,
/// then sleep in the kernel. One thread calls `run` at a time; it takes part in the work. With one
/// thread there are no workers at all.
class ThreadPool {
 public:
  /// What a loop runs per item: `thread` in [0, n_threads) names the executing thread's scratch.
  using ItemFunction = void (*)(const void* context, std::uint32_t item, std::uint32_t thread);

  explicit ThreadPool(unsigned n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned size() const { return static_cast<unsigned>(workers_.size()) + 1; }

  /// Calls function(context, i, thread) for all i < n_items and returns when all are done. Items
  /// not begun when `stop` becomes true are left out; false is returned if there were any.
  bool run(std::uint32_t n_items, ItemFunction function, const void* context,
           const std::atomic<bool>& stop);

 private:
  void work(std::uint32_t thread);
  /// Executes one item if there is one left.
  bool take_item(std::uint32_t thread);
  bool has_items() const {
    return static_cast<std::uint32_t>(ticket_.load(std::memory_order_relaxed)) != 0;
  }

  // The loop in progress. Written by `run` before `ticket_` is published, read only by a thread
  // that holds an item, and an item in hand keeps `run` from returning: so it is never read while
  // it changes.
  ItemFunction function_ = nullptr;
  const void* context_ = nullptr;
  const std::atomic<bool>* stop_ = nullptr;
  std::uint32_t n_items_ = 0;

  // Lines of their own: every claim writes ticket_, every finished item done_.
  alignas(64) std::atomic<std::uint64_t> ticket_{0};  ///< generation << 32 | items left to claim
  alignas(64) std::atomic<std::uint32_t> done_{0};    ///< items finished or left out
  std::atomic<std::uint32_t> skipped_{0};
  alignas(64) std::atomic<std::uint32_t> generation_{0};  ///< what sleeping workers wait on
  std::atomic<bool> closing_{false};
  std::vector<std::thread> workers_;
};

}  // namespace lm::cpu
