#include "tests/crash/tally.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lm::crash {
namespace {

struct Row {
  const char* name;
  std::uint64_t floor;  ///< of a full sweep
};
constexpr std::array kRows{Row{"kill points", 500},        Row{"kills at random times", 300},
                           Row{"I/O faults", 1000},        Row{"compound faults", 100},
                           Row{"power-loss images", 1000}, Row{"malloc faults", 500},
                           Row{"concurrent rounds", 1000}};

struct Sums {
  std::array<std::uint64_t, kRows.size()> tried{};
  std::uint64_t lost = 0;
  std::uint64_t leaked = 0;

  std::string text() const {
    std::string text;
    for (std::size_t i = 0; i < kRows.size(); ++i) {
      if (tried[i] > 0) {
        text += fmt::format("{} {}, ", tried[i], kRows[i].name);
      }
    }
    return text + fmt::format("models lost {}, files leaked {}", lost, leaked);
  }
};

Sums& all_sums() {
  static Sums sums;
  return sums;
}
Sums& test_sums() {
  static Sums sums;
  return sums;
}

class Printer : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override { test_sums() = {}; }
  void OnTestEnd(const testing::TestInfo& info) override {
    std::printf("%s: %s\n", info.name(), test_sums().text().c_str());
  }
};

class Floors : public testing::Environment {
  void TearDown() override {
    std::printf("all: %s (seed %llu)\n", all_sums().text().c_str(),
                static_cast<unsigned long long>(sweep_seed()));
    if (!full_sweep() || GTEST_FLAG_GET(filter) != "*") {
      return;
    }
    for (std::size_t i = 0; i < kRows.size(); ++i) {
      EXPECT_GE(all_sums().tried[i], kRows[i].floor) << kRows[i].name;
    }
    EXPECT_EQ(all_sums().lost, 0u);
    EXPECT_EQ(all_sums().leaked, 0u);
  }
};

}  // namespace

void count(Tried what, std::uint64_t n) {
  all_sums().tried[static_cast<std::size_t>(what)] += n;
  test_sums().tried[static_cast<std::size_t>(what)] += n;
}

void count_lost(std::uint64_t n) {
  all_sums().lost += n;
  test_sums().lost += n;
}

void count_leaked(std::uint64_t n) {
  all_sums().leaked += n;
  test_sums().leaked += n;
}

bool full_sweep() {
  const char* value = std::getenv("LM_FULL_SWEEP");
  return value != nullptr && std::string_view(value) == "1";
}

std::uint64_t sweep_seed() {
  const char* value = std::getenv("LM_SWEEP_SEED");
  return value != nullptr ? std::strtoull(value, nullptr, 10) : 1;
}

std::vector<std::uint64_t> points(std::uint64_t n_calls, std::size_t n_sample,
                                  const std::string& salt, std::size_t most) {
  const std::size_t wanted = full_sweep() ? most : n_sample;
  std::vector<std::uint64_t> chosen;
  if (wanted >= n_calls) {
    for (std::uint64_t k = 1; k <= n_calls; ++k) {
      chosen.push_back(k);
    }
    return chosen;
  }
  // One out of each of `wanted` equal stretches, so that no part of the command goes untried.
  std::seed_seq seed{sweep_seed(), static_cast<std::uint64_t>(std::hash<std::string>{}(salt))};
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < wanted; ++i) {
    const std::uint64_t begin = n_calls * i / wanted;
    const std::uint64_t end = n_calls * (i + 1) / wanted;
    chosen.push_back(begin + 1 + random() % (end - begin));
  }
  return chosen;
}

void print_tally_at_end() {
  testing::UnitTest::GetInstance()->listeners().Append(new Printer);
  testing::AddGlobalTestEnvironment(new Floors);
}

}  // namespace lm::crash
