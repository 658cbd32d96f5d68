#include "tests/crash/tally.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lm::crash {
namespace {

struct Kind {
  const char* name;
  std::uint64_t floor;  ///< of a full sweep
  const char* heading;
};
constexpr std::array kKinds{
    Kind{"kill points", 500, "kill points"},   Kind{"kills at random times", 300, "at random"},
    Kind{"I/O faults", 1000, "I/O faults"},    Kind{"compound faults", 100, "compound"},
    Kind{"power-loss images", 1000, "images"}, Kind{"malloc faults", 500, "malloc"},
    Kind{"concurrent rounds", 200, "rounds"}};
using Counts = std::array<std::uint64_t, kKinds.size()>;

struct Sums {
  Counts tried{};
  std::uint64_t lost = 0;
  std::uint64_t leaked = 0;

  std::string text() const {
    std::string text;
    for (std::size_t i = 0; i < kKinds.size(); ++i) {
      if (tried[i] > 0) {
        text += fmt::format("{} {}, ", tried[i], kKinds[i].name);
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

/// What was tried on which command.
std::map<std::string, Counts>& counts_by_command() {
  static std::map<std::string, Counts> counts;
  return counts;
}

/// The last part of the running test's name; sweeps over commands end in one.
std::string running_command() {
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string name = info != nullptr ? info->name() : "";
  const std::size_t slash = name.rfind('/');
  return slash == std::string::npos ? "several" : name.substr(slash + 1);
}

void print_table() {
  const auto print_row = [](const std::string& name, const Counts& counts) {
    std::printf("%-14s", name.c_str());
    for (const std::uint64_t n : counts) {
      std::printf(" %11llu", static_cast<unsigned long long>(n));
    }
    std::printf("\n");
  };
  std::printf("%-14s", "command");
  Counts floors{};
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    std::printf(" %11s", kKinds[i].heading);
    floors[i] = kKinds[i].floor;
  }
  std::printf("\n");
  for (const auto& [command, counts] : counts_by_command()) {
    print_row(command, counts);
  }
  print_row("sum", all_sums().tried);
  print_row("at least", floors);
  std::printf("models lost %llu, files leaked %llu, seed %llu\n",
              static_cast<unsigned long long>(all_sums().lost),
              static_cast<unsigned long long>(all_sums().leaked),
              static_cast<unsigned long long>(sweep_seed()));
}

class Printer : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override { test_sums() = {}; }
  void OnTestEnd(const testing::TestInfo& info) override {
    std::printf("%s: %s\n", info.name(), test_sums().text().c_str());
  }
};

class Floors : public testing::Environment {
  void TearDown() override {
    print_table();
    if (!full_sweep() || GTEST_FLAG_GET(filter) != "*" || std::getenv("GTEST_TOTAL_SHARDS")) {
      return;
    }
    for (std::size_t i = 0; i < kKinds.size(); ++i) {
      EXPECT_GE(all_sums().tried[i], kKinds[i].floor) << kKinds[i].name;
    }
    EXPECT_EQ(all_sums().lost, 0u);
    EXPECT_EQ(all_sums().leaked, 0u);
  }
};

}  // namespace

void count(Tried what, std::uint64_t n) {
  all_sums().tried[static_cast<std::size_t>(what)] += n;
  test_sums().tried[static_cast<std::size_t>(what)] += n;
  counts_by_command()[running_command()][static_cast<std::size_t>(what)] += n;
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
