// PullerProcess, and what it is for: pulls that die, race, and stay small.
#include "tests/registry/puller_process.h"

#include <thread>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/journal.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace {

constexpr std::size_t kMiB = 1 << 20;

std::string read_line(int fd) {
  std::string line;
  char c = 0;
  while (::read(fd, &c, 1) == 1 && c != '\n') {
    line += c;
  }
  return line;
}

void write_line(int fd, const std::string& line) {
  const std::string text = line + "\n";
  EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

/// A field of /proc/self/status, in bytes.
std::uint64_t memory_field(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) {
      return std::stoull(line.substr(name.size() + 1)) * 1024;
    }
  }
  return 0;
}

constexpr const char* kWaiting = "waiting";

nlohmann::json pull_here(const std::string& home, const std::string& name,
                         const std::string& endpoint, int report_fd) {
  // The peak counts from here on, without what the fork brought along.
  std::ofstream("/proc/self/clear_refs") << "5";
  const std::uint64_t before = memory_field("VmRSS");
  HubSettings settings;
  settings.endpoint = endpoint;
  settings.tuning = quick_tuning();
  std::atomic<bool> stop{false};
  bool waited = false;
  auto store = store::Store::open(home, store::Store::Mode::read_write);
  const auto result = store ? pull(
                                  *store, settings, *ModelRef::parse(name), {}, {},
                                  [&](const PullEvent& event) {
                                    if (!waited && event.text.starts_with("another lm")) {
                                      waited = true;
                                      write_line(report_fd, kWaiting);
                                    }
                                  },
                                  stop)
                            : std::unexpected(store.error());
  return {{"ok", result.has_value()},
          {"message", result ? "" : result.error().subject + ": " + result.error().problem},
          {"fetched", result ? result->fetched_bytes : 0},
          {"waited", waited},
          {"growth", memory_field("VmHWM") - before}};
}

}  // namespace

PullerProcess::PullerProcess(const std::string& home, const std::string& name) {
  int down[2];
  int up[2];
  EXPECT_EQ(::pipe2(down, O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(up, O_CLOEXEC), 0);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(down[1]);
    ::close(up[0]);
    const std::string endpoint = read_line(down[0]);
    if (!endpoint.empty()) {
      write_line(up[1], pull_here(home, name, endpoint, up[1]).dump());
    }
    ::_exit(0);
  }
  ::close(down[0]);
  ::close(up[1]);
  to_child_ = down[1];
  from_child_ = up[0];
}

PullerProcess::~PullerProcess() {
  if (pid_ > 0) {
    kill9();
    wait();
  }
  ::close(to_child_);
  ::close(from_child_);
}

void PullerProcess::go(const std::string& endpoint) {
  write_line(to_child_, endpoint);
}

bool PullerProcess::wait_until_waiting() {
  line_ = read_line(from_child_);
  return line_ == kWaiting;
}

void PullerProcess::kill9() {
  ::kill(pid_, SIGKILL);
}

PullerProcess::Outcome PullerProcess::wait() {
  Outcome outcome;
  std::string line = line_.starts_with('{') ? line_ : read_line(from_child_);
  while (line == kWaiting) {
    line = read_line(from_child_);
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  outcome.ended_itself = WIFEXITED(status);
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (json.is_object()) {
    outcome.ok = json["ok"];
    outcome.message = json["message"];
    outcome.fetched_bytes = json["fetched"];
    outcome.waited = json["waited"];
    outcome.memory_growth_bytes = json["growth"];
  }
  return outcome;
}

namespace {

constexpr const char* kRepo = "alice/big-GGUF";
constexpr const char* kFile = "big-Q4_K_M.gguf";
constexpr const char* kName = "hf.co/alice/big-GGUF:Q4_K_M";

class PullerProcessTest : public PullTest {
 protected:
  store::Digest digest() const { return *store::Digest::parse_hex(hub_->digest_hex(kRepo, kFile)); }
  /// What the journal calls done; 0 without one.
  std::uint64_t journalled() {
    const auto journal = store::read_journal(open_store().journal_path(digest()));
    return journal ? journal->done_bytes() : 0;
  }
  /// The hub has stopped at `bytes` and a journal speaks of some of them.
  void wait_until_held(std::uint64_t bytes) {
    ASSERT_TRUE(hub_->wait_for_weight_bytes(bytes - kMiB, std::chrono::seconds(120)));
    while (journalled() == 0) {
      std::this_thread::yield();
    }
  }
};

TEST_F(PullerProcessTest, ResumesAfterKill9WithoutRefetching) {
  PullerProcess victim(home().string(), kName);
  constexpr std::size_t kSize = 72 * kMiB + 11;
  start();
  const std::string bytes = noise(kSize);
  hub_->add_file(kRepo, kFile, bytes);
  hub_->hold_after(kSize / kMiB / 2 * kMiB);
  victim.go(hub_->endpoint());
  wait_until_held(kSize / kMiB / 2 * kMiB);
  victim.kill9();
  EXPECT_FALSE(victim.wait().ended_itself);
  const std::uint64_t served = hub_->weight_bytes();
  const std::uint64_t kept = journalled();
  EXPECT_LE(served - kept, 64 * kMiB);
  const auto partials = open_store().partials();
  ASSERT_TRUE(partials);
  ASSERT_EQ(partials->size(), 1u);
  EXPECT_EQ(partials->front().name, kName);
  EXPECT_EQ(open_store().list()->size(), 0u);

  hub_->release();
  hub_->clear_log();
  const auto result = pull_name(kName);
  ASSERT_TRUE(result) << result.error().problem;
  // At most what the journal misses: a note newer than it may know more.
  EXPECT_LE(result->fetched_bytes, kSize - kept);
  EXPECT_EQ(hub_->weight_bytes(), result->fetched_bytes);
  EXPECT_TRUE(stored_bytes(kName) == bytes);
  EXPECT_TRUE(files_in("partial").empty());
}

TEST_F(PullerProcessTest, SurvivesKillAfterKill) {
  // Each round dies somewhere else; the sum of what travelled stays near the size of the file.
  constexpr std::size_t kSize = 40 * kMiB;
  constexpr int kRounds = 4;
  std::vector<std::unique_ptr<PullerProcess>> victims;
  for (int i = 0; i < kRounds; ++i) {
    victims.push_back(std::make_unique<PullerProcess>(home().string(), kName));
  }
  start();
  const std::string bytes = noise(kSize);
  hub_->add_file(kRepo, kFile, bytes);
  for (int i = 0; i < kRounds; ++i) {
    const std::uint64_t more = static_cast<std::uint64_t>(i + 1) * 2 * kMiB;
    const std::uint64_t before = hub_->weight_bytes();
    hub_->hold_after(more);
    victims[static_cast<std::size_t>(i)]->go(hub_->endpoint());
    ASSERT_TRUE(hub_->wait_for_weight_bytes(before + more - kMiB, std::chrono::seconds(60)));
    victims[static_cast<std::size_t>(i)]->kill9();
    victims[static_cast<std::size_t>(i)]->wait();
  }
  hub_->release();
  const auto result = pull_name(kName);
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_TRUE(stored_bytes(kName) == bytes);
}

TEST_F(PullerProcessTest, TwoProcessesFetchABlobOnce) {
  PullerProcess one(home().string(), kName);
  PullerProcess two(home().string(), kName);
  constexpr std::size_t kSize = 36 * kMiB;
  start();
  const std::string bytes = noise(kSize);
  hub_->add_file(kRepo, kFile, bytes);
  hub_->hold_after(8 * kMiB);
  one.go(hub_->endpoint());
  ASSERT_TRUE(hub_->wait_for_weight_bytes(7 * kMiB, std::chrono::seconds(60)));
  two.go(hub_->endpoint());
  EXPECT_TRUE(two.wait_until_waiting());
  hub_->release();
  const auto first = one.wait();
  const auto second = two.wait();
  EXPECT_TRUE(first.ok) << first.message;
  EXPECT_TRUE(second.ok) << second.message;
  EXPECT_EQ(first.fetched_bytes, kSize);
  EXPECT_EQ(second.fetched_bytes, 0u);
  EXPECT_EQ(hub_->weight_bytes(), kSize);
  EXPECT_TRUE(stored_bytes(kName) == bytes);
}

TEST_F(PullerProcessTest, GoesOnWhereADeadProcessStopped) {
  PullerProcess dying(home().string(), kName);
  PullerProcess waiting(home().string(), kName);
  constexpr std::size_t kSize = 48 * kMiB;
  start();
  const std::string bytes = noise(kSize);
  hub_->add_file(kRepo, kFile, bytes);
  hub_->hold_after(20 * kMiB);
  dying.go(hub_->endpoint());
  wait_until_held(20 * kMiB);
  waiting.go(hub_->endpoint());
  EXPECT_TRUE(waiting.wait_until_waiting());
  dying.kill9();
  dying.wait();
  hub_->release();
  const auto outcome = waiting.wait();
  EXPECT_TRUE(outcome.ok) << outcome.message;
  EXPECT_LT(outcome.fetched_bytes, kSize);
  EXPECT_TRUE(stored_bytes(kName) == bytes);
}

TEST_F(PullerProcessTest, StaysSmallInMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers multiply the memory";
#endif
  PullerProcess puller(home().string(), kName);
  start();
  constexpr std::size_t kSize = 160 * kMiB;
  hub_->add_file(kRepo, kFile, noise(kSize));
  puller.go(hub_->endpoint());
  const auto outcome = puller.wait();
  EXPECT_TRUE(outcome.ok) << outcome.message;
  EXPECT_EQ(outcome.fetched_bytes, kSize);
  EXPECT_GT(outcome.memory_growth_bytes, 0u);
  EXPECT_LT(outcome.memory_growth_bytes, 64 * kMiB);
}

}  // namespace
}  // namespace lm::registry
