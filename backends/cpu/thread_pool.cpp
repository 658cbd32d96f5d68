#include "backends/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>

namespace lm::cpu {
namespace {

// Longer than any gap between two ops of a step, shorter than what a competing process would
// notice. A thread that sleeps costs its waker a system call and itself tens of microseconds.
constexpr std::chrono::microseconds kSpin{60};

// Every thread has scratch of its own, so a wrong number should not take all memory.
constexpr unsigned kMaxThreads = 1024;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile(
      "isb");  // `yield` costs next to nothing on most cores; this waits tens of cycles
#else
  std::this_thread::yield();
#endif
}

/// Spins until `ready` or the time is over.
template <class Ready>
bool spin_until(const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) {
        return true;
      }
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace

ThreadPool::ThreadPool(unsigned n_threads) {
  const std::uint32_t wanted = std::clamp(n_threads, 1u, kMaxThreads);
  workers_.reserve(wanted - 1);
  for (std::uint32_t thread = 1; thread < wanted; ++thread) {
    try {
      workers_.emplace_back([this, thread] { work(thread); });
    } catch (const std::system_error&) {
      break;  // a limit of the system: fewer threads do the same work
    }
  }
}

ThreadPool::~ThreadPool() {
  closing_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

bool ThreadPool::take_item(std::uint32_t thread) {
  std::uint64_t ticket = ticket_.load(std::memory_order_relaxed);
  do {
    if (static_cast<std::uint32_t>(ticket) == 0) {
      return false;
    }
    // The generation in the upper half makes a claim fail when the loop it was meant for is over.
  } while (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acquire,
                                          std::memory_order_relaxed));

  const std::uint32_t n_items = n_items_;
  const std::uint32_t item = n_items - static_cast<std::uint32_t>(ticket);
  if (stop_->load(std::memory_order_relaxed)) {
    skipped_.fetch_add(1, std::memory_order_relaxed);
  } else {
    function_(context_, item, thread);
  }
  if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == n_items && thread != 0) {
    done_.notify_one();  // no system call unless `run` sleeps
  }
  return true;
}

bool ThreadPool::run(std::uint32_t n_items, ItemFunction function, const void* context,
                     const std::atomic<bool>& stop) {
  if (n_items <= 1 || workers_.empty()) {
    for (std::uint32_t i = 0; i < n_items; ++i) {
      if (stop.load(std::memory_order_relaxed)) {
        return false;
      }
      function(context, i, 0);
    }
    return true;
  }
  function_ = function;
  context_ = context;
  stop_ = &stop;
  n_items_ = n_items;
  done_.store(0, std::memory_order_relaxed);
  skipped_.store(0, std::memory_order_relaxed);
  const std::uint64_t generation = generation_.load(std::memory_order_relaxed) + 1;
  ticket_.store(generation << 32 | n_items, std::memory_order_release);
  generation_.fetch_add(1);  // sequentially consistent: against the sleepers' last look
  generation_.notify_all();

  while (take_item(0)) {
  }
  const auto all_done = [&] { return done_.load(std::memory_order_acquire) == n_items; };
  if (!spin_until(all_done)) {
    // Somebody holds an item without a core. Leaving ours lets the system move that thread here.
    for (std::uint32_t done = done_.load(); done != n_items; done = done_.load()) {
      done_.wait(done);
    }
  }
  return skipped_.load(std::memory_order_relaxed) == 0;
}

void ThreadPool::work(std::uint32_t thread) {
  for (;;) {
    const std::uint32_t seen = generation_.load();
    while (take_item(thread)) {
    }
    if (closing_.load(std::memory_order_relaxed)) {
      return;
    }
    const auto woken = [&] {
      return has_items() || generation_.load(std::memory_order_relaxed) != seen;
    };
    if (!spin_until(woken)) {
      generation_.wait(seen);
    }
  }
}

}  // namespace lm::cpu
