/// A store, the files models are made from, and `lm` run on them with a plan for what is to go
/// wrong.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cli/process.h"
#include "tests/crash/control_page.h"
#include "tests/support/test_hub.h"

namespace lm::crash {

namespace fs = std::filesystem;

/// A folder of its own, removed at the end. `store/` is LM_HOME, `src/` holds files to make models
/// of.
class Sandbox {
 public:
  Sandbox();
  /// A copy of all files.
  Sandbox(const Sandbox& other);
  Sandbox& operator=(const Sandbox&) = delete;
  ~Sandbox();

  const fs::path& root() const { return root_; }
  fs::path store() const { return root_ / "store"; }
  fs::path src() const { return root_ / "src"; }
  /// Takes the place of root(): an image of another sandbox.
  void replace_by(const fs::path& image);

 private:
  fs::path outer_;
  fs::path root_;
};

/// What is counted in a run, and what goes wrong.
struct Plan {
  std::uint32_t counted = kChanges;
  Fault fault = Fault::none;
  std::uint64_t at = 0;
  int error = 0;
  fs::path log = {};      ///< of events; empty: none
  std::string only = {};  ///< calls on files whose names end so; empty: on all
};

struct Outcome {
  test::Finished process;
  std::uint64_t calls = 0;
  std::uint64_t hits = 0;
  std::string hit;  ///< the first call that went wrong

  bool killed() const { return hits > 0 && process.signal == 9; }
};

/// Writes a file, and its folder when that is missing.
void write_file(const fs::path& path, std::string_view text);
std::string read_file(const fs::path& path);

/// The hub that every pull of this process asks.
test::TestHub& hub();

/// Environment of `lm` in a sandbox.
test::Environment environment_of(const Sandbox& sandbox);
/// Words of a command line behind the path of the built `lm`.
std::vector<std::string> command_line(const std::vector<std::string>& words);

/// Runs `lm WORDS` to its end; nothing goes wrong.
test::Finished run_lm(const Sandbox& sandbox, const std::vector<std::string>& words);
/// Runs it with a plan.
Outcome run_lm(const Sandbox& sandbox, const std::vector<std::string>& words, const Plan& plan);

}  // namespace lm::crash
