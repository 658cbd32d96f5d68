// An index that SQLite can't use and tries to for ten seconds: it is asked once, and the manifests
// say what there is (promises S4 and S6 of the store).
#include <cerrno>
#include <memory>

#include <fmt/format.h>

#include "tests/crash/sweep.h"
#include "tests/crash/tally.h"

namespace lm::crash {
namespace LM_FILE {

TEST(StuckIndex, IsAskedOnceAndTheManifestsDo) {
  const std::vector<std::string> words{"cp", "base:1", "copied:1"};
  // Killed when the index has a log already, but nothing yet of what processes share about it.
  const auto crashed = [&]() -> std::unique_ptr<Sandbox> {
    for (std::uint64_t at = 1;; ++at) {
      auto sandbox = std::make_unique<Sandbox>(base_sandbox());
      const Outcome outcome = run_lm(*sandbox, words, {.fault = Fault::kill, .at = at});
      if (!outcome.killed()) {
        return nullptr;
      }
      if (outcome.hit.starts_with("fdatasync ") && outcome.hit.ends_with("/index.db-wal")) {
        return sandbox;
      }
    }
  }();
  ASSERT_TRUE(crashed);
  const auto try_command = [&](const std::vector<std::string>& command) {
    const Sandbox sandbox(*crashed);
    const Outcome outcome =
        run_lm(sandbox, command,
               {.fault = Fault::fail_from, .at = 1, .error = EROFS, .only = "/index.db-shm"});
    SCOPED_TRACE(fmt::format("{}: {} {}", command.front(), outcome.hit, outcome.process.err));
    EXPECT_EQ(outcome.process.exit_code, 0);
    EXPECT_EQ(outcome.calls, 1u) << "SQLite opens this file once for each time the index is opened";
    const std::string& text = outcome.process.err;
    EXPECT_TRUE(text.starts_with("Warning: "));
    EXPECT_NE(text.find("going on without the index"), std::string::npos);
    EXPECT_EQ(text.find("SQLite"), text.rfind("SQLite")) << "told once";
    count(Tried::io_faults);
    const std::set<std::string> names = listed(sandbox);
    EXPECT_EQ(names, names_of(look_at(sandbox).models)) << "and all is well without the fault";
    return names;
  };
  EXPECT_TRUE(try_command(words).contains("copied:1"));
  if (full_sweep()) {
    try_command({"list"});
    EXPECT_FALSE(try_command({"rm", "base:1"}).contains("base:1"));
  }
}

}  // namespace LM_FILE
}  // namespace lm::crash
