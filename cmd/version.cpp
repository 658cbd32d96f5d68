// lm version
#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/output.h"

namespace lm::cmd {

Result<ExitCode> version_command(CommandLine& line) {
  Arguments arguments(line);
  arguments.flag("--json", line.json, "print JSON");
  LM_TRY(const bool go_on, arguments.parse());
  if (go_on) {
    print(line.json ? fmt::format("{{\"version\":\"{}\"}}\n", LM_VERSION)
                    : fmt::format("lm version {}\n", LM_VERSION));
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
