// lm move: the whole store to another folder or disk.
#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/local_store.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/progress.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"

namespace lm::cmd {

Result<ExitCode> move_command(CommandLine& line) {
  std::string target;
  Arguments arguments(line);
  arguments.flag("--json", line.json, "print JSON");
  arguments.positional("DIR", target);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const std::filesystem::path home, store::default_home());
  std::error_code ignored;
  if (!std::filesystem::exists(home, ignored)) {
    return failure("not_found", home.string(), "there is no store here",
                   "set LM_HOME to the store that is to move");
  }
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
  const GracefulInterrupt graceful;
  ProgressDisplay progress;
  const auto moved =
      store->move_to(target, {.progress = [&](std::uint64_t done, std::uint64_t total) {
                       progress.update("moving the store", done, total);
                       return !interrupt_flag().load();
                     }});
  progress.finish_line();
  if (!moved) {
    Failure failed = moved.error();
    if (failed.exit == ExitCode::interrupted) {
      failed.hint = "the store is where it was; the same command goes on with what has arrived";
    }
    return std::unexpected(std::move(failed));
  }
  if (line.json) {
    print(dump_json({{"from", home.string()},
                     {"to", moved->target.string()},
                     {"bytes", moved->moved_bytes},
                     {"renamed", moved->renamed}}) +
          "\n");
    return ExitCode::ok;
  }
  print(fmt::format("moved {} from {} to {}\n", format_bytes(moved->moved_bytes),
                    escape_for_terminal(home.string()),
                    escape_for_terminal(moved->target.string())));
  print(fmt::format("From now on set LM_HOME, for example in ~/.profile:\n  export LM_HOME='{}'\n",
                    escape_for_terminal(moved->target.string())));
  return ExitCode::ok;
}

}  // namespace lm::cmd
