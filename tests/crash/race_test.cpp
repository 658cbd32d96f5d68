// Several `lm` at once on one store (promise S8): every run ends well, and what is left is what
// some order of them, one after the other, would have left.
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/crash/commands.h"
#include "tests/crash/store_view.h"
#include "tests/crash/tally.h"
#include "tests/support/test_data.h"

namespace lm::crash {
namespace LM_FILE {

using Words = std::vector<std::string>;

class Races : public testing::Test {
 protected:
  int rounds() const { return full_sweep() ? 40 : 2; }

  /// Runs all at once, each begun at a random moment of the first milliseconds.
  std::vector<test::Finished> run_together(const Sandbox& sandbox,
                                           const std::vector<Words>& lines) {
    std::vector<test::Finished> results(lines.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::chrono::microseconds delay(random_() % 15'000);
      threads.emplace_back([&, i, delay] {
        std::this_thread::sleep_for(delay);
        results[i] = run_lm(sandbox, lines[i]);
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    for (std::size_t i = 0; i < lines.size(); ++i) {
      EXPECT_EQ(results[i].signal, 0);
      EXPECT_FALSE(results[i].timed_out);
    }
    return results;
  }

  static void expect_done(const std::vector<test::Finished>& results) {
    for (const test::Finished& result : results) {
      EXPECT_EQ(result.exit_code, 0) << result.err;
    }
  }

  /// The names that are there, every one of them whole, and nothing else.
  static std::set<std::string> settled_names(const Sandbox& sandbox) {
    const std::set<std::string> names = listed(sandbox);
    prune_all(sandbox);
    const StoreView view = look_at(sandbox);
    EXPECT_EQ(names, names_of(view.models));
    for (const std::string& lost : view.lost) {
      ADD_FAILURE() << "lost: " << lost;
    }
    const auto left = leaked(sandbox);
    for (const std::string& file : left) {
      ADD_FAILURE() << "leaked: " << file;
    }
    count_lost(view.lost.size());
    count_leaked(left.size());
    return names;
  }

  static std::set<std::string> base_names_and(std::set<std::string> more) {
    more.merge(names_of(look_at(base_sandbox()).models));
    return more;
  }

 private:
  std::mt19937_64 random_{sweep_seed()};
};

TEST_F(Races, PullAndPullOfOneModel) {
  for (int round = 0; round < rounds(); ++round) {
    SCOPED_TRACE(round);
    const Sandbox sandbox(base_sandbox());
    expect_done(run_together(sandbox, {{"pull", kSplitModel}, {"pull", kSplitModel}}));
    EXPECT_EQ(settled_names(sandbox), base_names_and({kSplitModel}));
    ASSERT_FALSE(HasFailure());
    count(Tried::races);
  }
}

TEST_F(Races, PullAndRemoveOfOneModel) {
  Sandbox with_model(base_sandbox());
  ASSERT_EQ(run_lm(with_model, {"pull", kSplitModel}).exit_code, 0);
  for (int round = 0; round < rounds(); ++round) {
    SCOPED_TRACE(round);
    const Sandbox sandbox(round % 2 == 0 ? base_sandbox() : with_model);
    expect_done(run_together(sandbox, {{"pull", kSplitModel}, {"rm", "-f", kSplitModel}}));
    const auto names = settled_names(sandbox);
    EXPECT_TRUE(names == base_names_and({kSplitModel}) || names == base_names_and({}));
    ASSERT_FALSE(HasFailure());
    count(Tried::races);
  }
}

TEST_F(Races, PullAndCleanUp) {
  for (int round = 0; round < rounds(); ++round) {
    SCOPED_TRACE(round);
    const Sandbox sandbox(base_sandbox());
    expect_done(run_together(sandbox, {{"pull", kSplitModel}, {"prune", "--all"}}));
    EXPECT_EQ(settled_names(sandbox), base_names_and({kSplitModel}));
    ASSERT_FALSE(HasFailure());
    count(Tried::races);
  }
}

TEST_F(Races, RemoveAndRunOfOneModel) {
  Sandbox with_model(base_sandbox());
  fs::copy(test::golden_data() / "arch" / "llama-gqa.gguf", with_model.src() / "run.gguf");
  ASSERT_EQ(run_lm(with_model, {"cp", "base:1", "kept:1"}).exit_code, 0);
  write_file(with_model.src() / "Run", "FROM ./run.gguf\n");
  ASSERT_EQ(
      run_lm(with_model, {"create", "run:1", "-f", (with_model.src() / "Run").native()}).exit_code,
      0);
  const Words words{"run", "run:1", "--raw", "--temp", "0", "--predict", "4", "Hello"};
  const test::Finished alone = run_lm(with_model, words);
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  for (int round = 0; round < rounds(); ++round) {
    SCOPED_TRACE(round);
    const Sandbox sandbox(with_model);
    const auto results = run_together(sandbox, {words, {"rm", "-f", "run:1"}});
    EXPECT_EQ(results[1].exit_code, 0) << results[1].err;
    // Either it came first, or the model was gone.
    EXPECT_TRUE(results[0].exit_code == 0 ? results[0].out == alone.out
                                          : results[0].exit_code == 1 && results[0].out.empty())
        << results[0].out << results[0].err;
    EXPECT_EQ(settled_names(sandbox), base_names_and({"kept:1"}));
    ASSERT_FALSE(HasFailure());
    count(Tried::races);
  }
}

TEST_F(Races, EightPullsThatShareAFile) {
  constexpr unsigned kPulls = 8;
  std::vector<Words> lines;
  std::set<std::string> names;
  base_sandbox();
  for (unsigned i = 0; i < kPulls; ++i) {
    const std::string repo = fmt::format("demo/share{}-GGUF", i);
    hub().add_file(repo, "m-Q8_0-00001-of-00002.gguf", small_gguf(50, 0, 2));
    hub().add_file(repo, "m-Q8_0-00002-of-00002.gguf", small_gguf(60 + i, 1, 2));
    names.insert("hf.co/" + repo + ":Q8_0");
    lines.push_back({"pull", "hf.co/" + repo + ":Q8_0"});
  }
  for (int round = 0; round < rounds(); ++round) {
    SCOPED_TRACE(round);
    const Sandbox sandbox(base_sandbox());
    expect_done(run_together(sandbox, lines));
    EXPECT_EQ(settled_names(sandbox), base_names_and(names));
    ASSERT_FALSE(HasFailure());
    count(Tried::races);
  }
}

}  // namespace LM_FILE
}  // namespace lm::crash
