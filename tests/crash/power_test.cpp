// Cuts the power: replays what `lm` did to its disk up to a point and takes away or spoils what was
// not yet safe there (promise S3 of the store).
#include <fstream>
#include <random>

#include <fmt/format.h>

#include "tests/crash/disk_model.h"
#include "tests/crash/sweep.h"
#include "tests/crash/tally.h"

namespace lm::crash {
namespace {

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

class PowerLoss : public Sweep {};

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
  const std::size_t n_images = full_sweep() ? 100 : 6;
  std::seed_seq seed{sweep_seed(), GetParam()};
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < n_images; ++i) {
    // Now and then the end itself: what was reported as done stays done.
    const std::size_t at = i % 5 == 0 ? events.size() : random() % (events.size() + 1);
    const Cut cut{.kind = i % 4 == 0 ? Cut::Kind::drop : Cut::Kind::random, .seed = random()};
    SCOPED_TRACE(fmt::format(
        "{}: power cut after {} of {} steps, {} (seed {})", command().name, at, events.size(),
        cut.kind == Cut::Kind::drop ? "all dropped" : "some spoilt", cut.seed));
    DiskModel model = before;
    for (std::size_t k = 0; k < at; ++k) {
      model.apply(events[k]);
    }
    Sandbox sandbox;
    model.write_image(image, cut);
    sandbox.replace_by(image);
    if (at == events.size()) {
      expect_after(sandbox);
    }
    expect_recovery(sandbox);
    ASSERT_FALSE(HasFailure());
    count(Tried::images);
  }
}

LM_SWEEP_ALL_COMMANDS(PowerLoss);

}  // namespace
}  // namespace lm::crash
