// Cuts the power: replays what `lm` did to its disk up to a point and takes away or spoils what was
// not yet safe there (promise S3 of the store).
#include <fstream>
#include <random>

#include <fmt/format.h>

#include "tests/crash/disk_model.h"
#include "tests/crash/sweep.h"
#include "tests/crash/tally.h"

namespace lm::crash {
namespace LM_FILE {

/// Path below `root` -> what is there, without what SQLite maps and writes past the kernel.
std::map<std::string, std::string> tree_of(const fs::path& root) {
  std::map<std::string, std::string> tree;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string name = entry.path().lexically_relative(root).native();
    if (name.ends_with("-shm")) {
      continue;
    }
    if (entry.is_directory()) {
      tree[name] = "folder";
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    tree[name] = fmt::format("{:o} ", static_cast<unsigned>(entry.status().permissions())) +
                 std::string(std::istreambuf_iterator<char>(file), {});
  }
  return tree;
}

class PowerLoss : public Sweep {
 protected:
  /// The disk as a cut leaves it: as before or after the command; with `is_done` as after it.
  void try_image(const DiskModel& model, Cut cut, bool is_done, const std::string& what) const;
  void cut_after_kill(std::uint64_t at);
};

/// A power cut ends the boot: what a download noted for this one alone must not be believed.
void end_boot(const fs::path& image) {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  const fs::path partial = image / "store" / "partial";
  if (boot.empty() || !fs::exists(partial)) {
    return;
  }
  for (const auto& entry : fs::directory_iterator(partial)) {
    if (entry.path().filename().native().contains(".live")) {
      std::string text = read_file(entry.path());
      if (text.starts_with(boot)) {
        write_file(entry.path(), text.replace(0, boot.size(), "an earlier boot"));
      }
    }
  }
}

void PowerLoss::try_image(const DiskModel& model, Cut cut, bool is_done,
                          const std::string& what) const {
  SCOPED_TRACE(fmt::format("{}: {}, {} (seed {})", command().name, what,
                           cut.kind == Cut::Kind::drop ? "all dropped" : "some spoilt", cut.seed));
  Sandbox sandbox;
  const fs::path image = sandbox.root().parent_path() / "image";
  model.write_image(image, cut);
  end_boot(image);
  sandbox.replace_by(image);
  if (is_done) {
    expect_after(sandbox);
  }
  expect_recovery(sandbox);
  count(Tried::images);
}

/// The command is killed at a call, runs again, and then the power goes: what the first one had not
/// made durable is not durable because the second finds it there.
void PowerLoss::cut_after_kill(std::uint64_t at) {
  Sandbox recorded = fresh();
  DiskModel model(recorded.root());
  const fs::path log = recorded.root().parent_path() / "log";
  const Outcome killed = run(recorded, {.fault = Fault::kill, .at = at, .log = log});
  if (!killed.killed()) {
    return;
  }
  for (const Event& event : read_events(log)) {
    model.apply(event);
  }
  fs::remove(log);
  const Outcome again = run(recorded, {.log = log});
  ASSERT_EQ(again.process.exit_code, 0) << again.process.err;
  const std::vector<Event> events = read_events(log);
  std::size_t applied = 0;
  const std::size_t n_images = full_sweep() ? 4 : 2;
  for (std::size_t i = 1; i <= n_images; ++i) {
    const std::size_t end = events.size() * i / n_images;
    for (; applied < end; ++applied) {
      model.apply(events[applied]);
    }
    // At the end everything that wasn't made durable is dropped: the hardest cut of all.
    const bool last = i == n_images;
    try_image(model, {.kind = last ? Cut::Kind::drop : Cut::Kind::random, .seed = at * 16 + i},
              last,
              fmt::format("killed at call {} ({}), run again, power cut after {} of {} steps", at,
                          killed.hit, end, events.size()));
    ASSERT_FALSE(HasFailure());
  }
}

TEST_P(PowerLoss, AfterAKillLeavesTheStoreBeforeOrAfter) {
  const std::uint64_t n_calls = calls_of(kChanges);
  for (const std::uint64_t at : points(n_calls, 2, "killed and cut " + command().name, 8)) {
    cut_after_kill(at);
    ASSERT_FALSE(HasFailure());
  }
  // Where there is no store yet each of its folders is one that a kill may leave without a name.
  const Sandbox sandbox = fresh();
  for (std::uint64_t at = 1; !fs::exists(sandbox.store()) && at <= 12; ++at) {
    cut_after_kill(at);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_P(PowerLoss, LeavesTheStoreBeforeOrAfter) {
  const Sandbox recorded = fresh();
  const DiskModel before(recorded.root());
  const fs::path log = recorded.root().parent_path() / "log";
  const Outcome outcome = run(recorded, {.log = log});
  ASSERT_EQ(outcome.process.exit_code, 0) << outcome.process.err;
  const std::vector<Event> events = read_events(log);
  ASSERT_GT(events.size(), 3u);
  const fs::path image = recorded.root().parent_path() / "image";
  {
    // Nothing that changes the disk escapes the log.
    DiskModel model = before;
    for (const Event& event : events) {
      model.apply(event);
    }
    model.write_image(image, {.kind = Cut::Kind::keep});
    ASSERT_EQ(tree_of(image), tree_of(recorded.root()));
    fs::remove_all(image);
  }
  const std::size_t n_images = full_sweep() ? 60 : 6;
  std::seed_seq seed{sweep_seed(), GetParam()};
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < n_images; ++i) {
    // Now and then the end itself: what was reported as done stays done.
    const std::size_t at = i % 5 == 0 ? events.size() : random() % (events.size() + 1);
    const Cut cut{.kind = i % 4 == 0 ? Cut::Kind::drop : Cut::Kind::random, .seed = random()};
    DiskModel model = before;
    for (std::size_t k = 0; k < at; ++k) {
      model.apply(events[k]);
    }
    try_image(model, cut, at == events.size(),
              fmt::format("power cut after {} of {} steps", at, events.size()));
    ASSERT_FALSE(HasFailure());
  }
}

LM_SWEEP_ALL_COMMANDS(PowerLoss);

}  // namespace LM_FILE
}  // namespace lm::crash
