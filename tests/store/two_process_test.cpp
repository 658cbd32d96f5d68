// Two and more processes on one store (promise S8). Each child opens the store itself: no handle
// crosses fork.
#include <csignal>
#include <cstdio>

#include <sys/wait.h>
#include <unistd.h>

#include "tests/store/commands.h"

namespace lm::store {
namespace LM_FILE {

class TwoProcesses : public testing::Test {
 protected:
  using Work = std::function<Result<void>(Store&)>;

  // Starts all at once; true when every one succeeded.
  void run_together(const std::vector<Work>& works) {
    int gate[2];
    ASSERT_EQ(::pipe(gate), 0);
    std::fflush(nullptr);
    std::vector<pid_t> children;
    for (const Work& work : works) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::close(gate[1]);
        char byte = 0;
        if (::read(gate[0], &byte, 1) != 0) {  // until the gate is closed
          ::_exit(2);
        }
        Result<void> done = [&]() -> Result<void> {
          LM_TRY(Store store, Store::open(home(), Store::Mode::read_write));
          return work(store);
        }();
        if (!done) {
          std::fprintf(stderr, "child: %s\n", explain(done.error()).c_str());
        }
        ::_exit(done ? 0 : 1);
      }
      children.push_back(child);
    }
    ::close(gate[0]);
    ::close(gate[1]);
    for (const pid_t child : children) {
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
  }

  fs::path home() const { return folder_.path() / "home"; }
  TempFolder folder_;
};

Result<void> ignore(Result<void> result, ErrorCode code) {
  if (!result && result.error().code == code) {
    return {};
  }
  return result;
}

Result<void> remove(Store& store, const std::string& name) {
  LM_CHECK(store.remove(name));
  return {};
}

TEST_F(TwoProcesses, OpenANewStoreAtTheSameTime) {
  for (int round = 0; round < 20; ++round) {
    fs::remove_all(home());
    run_together(
        std::vector<Work>(4, [](Store& store) { return forget(put_texts(store, "a:1", {"x"})); }));
    Store store = open_store(home());
    EXPECT_EQ(picture(store).size(), 1u);
    EXPECT_TRUE(store.warnings().empty());
    EXPECT_TRUE(files_in(home() / "tmp").empty());
  }
}

TEST_F(TwoProcesses, PullTheSameModel) {
  for (int round = 0; round < 20; ++round) {
    run_together(
        std::vector<Work>(3, [](Store& store) { return download(store, "a:1", "content"); }));
    {
      Store store = open_store(home());
      EXPECT_EQ(picture(store).size(), 1u);
    }
    expect_nothing_leaked(home());
    Store store = open_store(home());
    ASSERT_OK(store.remove("a:1"));
  }
}

// Each in a loop, so that they meet at ever other places; the models share a blob.
TEST_F(TwoProcesses, PutRemoveListAndCollectInAnyOrder) {
  constexpr int kRounds = 25;
  std::vector<Work> works;
  for (int i = 0; i < 4; ++i) {
    works.push_back([i](Store& store) -> Result<void> {
      const std::string name = "m" + std::to_string(i) + ":1";
      for (int round = 0; round < kRounds; ++round) {
        LM_CHECK(put_texts(store, name, {"shared", "own of " + std::to_string(i)}));
        LM_TRY(const OpenModel model, store.open_model(name));
        LM_CHECK(store.copy(name, "copy" + std::to_string(i)));
        LM_CHECK(remove(store, name));
        char byte = 0;
        if (::pread(model.model_fds[0].get(), &byte, 1, 0) != 1 || byte != 's') {
          return std::unexpected(Error{.subject = name, .problem = "the open model is gone"});
        }
      }
      return {};
    });
  }
  works.push_back([](Store& store) -> Result<void> {
    for (int round = 0; round < kRounds; ++round) {
      LM_CHECK(store.collect_garbage(std::chrono::seconds(0)));
      LM_TRY(const auto entries, store.list());
      for (const ModelEntry& entry : entries) {
        auto model = store.open_model(entry.name);
        if (!model && model.error().code != ErrorCode::not_found) {
          return std::unexpected(model.error());  // removed in between is fine, half removed is not
        }
      }
    }
    return {};
  });
  run_together(works);
  {
    Store store = open_store(home());
    EXPECT_EQ(picture(store).size(), 4u) << "the four copies";
    EXPECT_TRUE(store.warnings().empty());
  }
  expect_nothing_leaked(home());
}

TEST_F(TwoProcesses, ReplaceAndRemoveTheSameName) {
  const Work put_it = [](Store& store) -> Result<void> {
    for (int round = 0; round < 15; ++round) {
      LM_CHECK(put_texts(store, "a:1", {"shared", "round " + std::to_string(round % 3)}));
    }
    return {};
  };
  const Work remove_it = [](Store& store) -> Result<void> {
    for (int round = 0; round < 15; ++round) {
      LM_CHECK(ignore(remove(store, "a:1"), ErrorCode::not_found));
    }
    return {};
  };
  run_together({put_it, put_it, remove_it, remove_it});
  {
    Store store = open_store(home());
    EXPECT_LE(picture(store).size(), 1u);
  }
  expect_nothing_leaked(home());
}

TEST_F(TwoProcesses, ALeaseOfALivingProcessProtectsItsBlob) {
  {
    const Store store = open_store(home());
  }
  int ready[2];
  int finish[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(finish), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(finish[1]);
    Store store = open_store(home());
    const auto leased = store.add_bytes("leased");
    char byte = 0;
    const bool told = ::write(ready[1], "x", 1) == 1;
    ::_exit(leased && told && ::read(finish[0], &byte, 1) == 0 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  {
    Store store = open_store(home());
    EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 0u);
    EXPECT_TRUE(store.has_blob(sha256("leased")));
    ASSERT_OK(put_texts(store, "a:1", {"leased"}));
    EXPECT_TRUE(store.remove("a:1").value().removed.empty());
    EXPECT_TRUE(store.has_blob(sha256("leased")));
  }
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  Store store = open_store(home());
  EXPECT_EQ(store.collect_garbage(std::chrono::seconds(0)).value(), 6u);
  for (const int fd : {ready[0], ready[1], finish[0], finish[1]}) {
    ::close(fd);
  }
}

// Killed at random times rather than at chosen calls, while another process goes on.
TEST_F(TwoProcesses, SurviveKillsAtRandomTimes) {
  for (int round = 0; round < 60; ++round) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) {
        auto store = Store::open(home(), Store::Mode::read_write);
        if (store) {
          static_cast<void>(download(*store, "a:1", "content " + std::to_string(round)));
          static_cast<void>(store->copy("a:1", "b:1"));
          static_cast<void>(store->remove("a:1"));
        }
      }
    }
    {
      Store store = open_store(home());
      EXPECT_OK(put_texts(store, "c:1", {"mine", "round " + std::to_string(round)}));
    }
    ::usleep(static_cast<useconds_t>((round * 7919) % 30'000));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    {
      Store store = open_store(home());
      ASSERT_TRUE(picture(store).contains("c:1"));
    }
    if (round % 10 == 9) {
      expect_nothing_leaked(home());
    }
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
}

}  // namespace LM_FILE
}  // namespace lm::store
