// What the sweeps over commands share: a command, and its store before and after it.
#pragma once

#include "tests/store/commands.h"

namespace lm::store {

inline Result<void> run_command(const SweepCommand& command, const fs::path& home) {
  LM_TRY(Store store, Store::open(home, Store::Mode::read_write));
  return command.run(store, home);
}

/// The store that `command` meets.
inline void prepare(const SweepCommand& command, const fs::path& home) {
  prepare_store(home);
  if (command.before) {
    command.before(home);
  }
}

/// What a command must leave when it is stopped: one of the two.
struct Pictures {
  Picture before;
  Picture after;
};

inline Pictures pictures_around(const SweepCommand& command) {
  Pictures pictures;
  {
    const TempFolder folder;
    prepare(command, folder.path() / "home");
    pictures.before = picture_of(folder.path() / "home");
  }
  const TempFolder folder;  // looking has healed the first
  prepare(command, folder.path() / "home");
  EXPECT_OK(run_command(command, folder.path() / "home"));
  pictures.after = picture_of(folder.path() / "home");
  return pictures;
}

}  // namespace lm::store
