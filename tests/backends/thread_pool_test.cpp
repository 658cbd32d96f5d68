#include "backends/cpu/thread_pool.h"

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace lm::cpu {
namespace LM_FILE {

const std::atomic<bool> kNeverStop{false};

struct Counters {
  explicit Counters(std::size_t n) : runs(n), thread_seen(64) {}
  std::vector<int> runs;  ///< not atomic on purpose: an item that ran twice at once would be a race
  std::vector<std::atomic<int>> thread_seen;
};

void count(const void* context, std::uint32_t item, std::uint32_t thread) {
  auto& counters = *static_cast<Counters*>(const_cast<void*>(context));
  ++counters.runs[item];
  counters.thread_seen[thread].fetch_add(1);
}

TEST(ThreadPool, RunsEveryItemOnceForAnyNumberOfThreadsAndItems) {
  for (const unsigned threads : {1u, 2u, 3u, 8u}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const std::uint32_t items : {0u, 1u, 2u, 3u, 7u, 100u, 1000u}) {
      Counters counters(items);
      EXPECT_TRUE(pool.run(items, count, &counters, kNeverStop));
      EXPECT_EQ(counters.runs, std::vector<int>(items, 1));
    }
  }
}

/// Short loops back to back are where a late worker could meet the next loop with the last one's
/// item.
TEST(ThreadPool, KeepsLoopsApart) {
  ThreadPool pool(4);
  struct Loop {
    int number;
    std::vector<int> seen;
  };
  for (int i = 0; i < 20000; ++i) {
    Loop loop{i, std::vector<int>(1 + i % 5, -1)};
    const auto body = [](const void* context, std::uint32_t item, std::uint32_t) {
      auto& l = *static_cast<Loop*>(const_cast<void*>(context));
      l.seen[item] = l.number;
    };
    ASSERT_TRUE(pool.run(static_cast<std::uint32_t>(loop.seen.size()), body, &loop, kNeverStop));
    ASSERT_EQ(loop.seen, std::vector<int>(loop.seen.size(), i));
  }
}

/// What one loop wrote on any thread, the next one reads on any other, without further
/// synchronisation.
TEST(ThreadPool, MakesEachLoopsWritesVisibleToTheNext) {
  ThreadPool pool(3);
  std::vector<std::uint64_t> values(64, 1);
  std::vector<std::uint64_t> next(64);
  struct Pair {
    const std::vector<std::uint64_t>* from;
    std::vector<std::uint64_t>* to;
  };
  for (int round = 0; round < 500; ++round) {
    const Pair pair{&values, &next};
    pool.run(
        64,
        [](const void* context, std::uint32_t item, std::uint32_t) {
          const auto& p = *static_cast<const Pair*>(context);
          (*p.to)[item] = (*p.from)[(item + 1) % 64] + (*p.from)[(item + 33) % 64];
        },
        &pair, kNeverStop);
    values.swap(next);
  }
  EXPECT_EQ(values, std::vector<std::uint64_t>(64, values[0]));
}

TEST(ThreadPool, WakesWorkersThatWentToSleep) {
  ThreadPool pool(2);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far beyond the spin
    Counters counters(64);
    EXPECT_TRUE(pool.run(64, count, &counters, kNeverStop));
    EXPECT_EQ(counters.runs, std::vector<int>(64, 1));
  }
}

/// A main thread that sleeps while a worker still holds an item must be woken by it.
TEST(ThreadPool, WaitsForAnItemThatTakesLong) {
  ThreadPool pool(2);
  std::atomic<int> finished{0};
  pool.run(
      2,
      [](const void* context, std::uint32_t, std::uint32_t thread) {
        if (thread != 0) {
          std::this_thread::sleep_for(std::chrono::milliseconds(30));
        } else {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        static_cast<std::atomic<int>*>(const_cast<void*>(context))->fetch_add(1);
      },
      &finished, kNeverStop);
  EXPECT_EQ(finished.load(), 2);
}

struct Stopper {
  std::atomic<bool> stop{false};
  std::atomic<int> begun{0};
};

void stop_at_third(const void* context, std::uint32_t, std::uint32_t) {
  auto& s = *static_cast<Stopper*>(const_cast<void*>(context));
  if (s.begun.fetch_add(1) + 1 == 3) {
    s.stop.store(true);
  }
}

TEST(ThreadPool, BeginsNoItemAfterTheStopFlag) {
  for (const unsigned threads : {1u, 2u, 4u}) {
    ThreadPool pool(threads);
    Stopper s;
    EXPECT_FALSE(pool.run(100000, stop_at_third, &s, s.stop));
    // The items that other threads had in hand are finished; nothing else is begun.
    EXPECT_LE(s.begun.load(), 3 + static_cast<int>(threads));
    EXPECT_GE(s.begun.load(), 3);
    s.stop.store(false);
    Counters counters(10);
    EXPECT_TRUE(pool.run(10, count, &counters, s.stop));  // and the pool goes on
    EXPECT_EQ(counters.runs, std::vector<int>(10, 1));
  }
}

TEST(ThreadPool, LeavesEverythingOutWhenStoppedBefore) {
  ThreadPool pool(2);
  const std::atomic<bool> stop{true};
  Counters counters(50);
  EXPECT_FALSE(pool.run(50, count, &counters, stop));
  EXPECT_EQ(counters.runs, std::vector<int>(50, 0));
  Counters single(1);
  EXPECT_FALSE(pool.run(1, count, &single, stop));
  EXPECT_EQ(single.runs[0], 0);
}

TEST(ThreadPool, RunsSideBySideWithAnother) {
  const auto drive = [] {
    ThreadPool pool(2);
    for (int i = 0; i < 500; ++i) {
      Counters counters(16);
      ASSERT_TRUE(pool.run(16, count, &counters, kNeverStop));
      ASSERT_EQ(counters.runs, std::vector<int>(16, 1));
    }
  };
  std::thread other(drive);
  drive();
  other.join();
}

}  // namespace LM_FILE
}  // namespace lm::cpu
