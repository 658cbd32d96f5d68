// lm cp: a second name for the same files.
#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/local_store.h"
#include "cmd/output.h"
#include "cmd/resolve.h"
#include "cmd/terminal.h"

namespace lm::cmd {

Result<ExitCode> copy_command(CommandLine& line) {
  std::string source, destination;
  Arguments arguments(line);
  arguments.positional("SOURCE", source);
  arguments.positional("DESTINATION", destination);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_CHECK(registry::ModelRef::parse(source));
  LM_TRY(const registry::ModelRef to, registry::ModelRef::parse(destination));
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
  LM_TRY(const store::Manifest manifest, find_stored(*store, source));
  LM_CHECK(store->copy(manifest.name, to.shortest()));
  print(fmt::format("copied '{}' to '{}'\n", escape_for_terminal(source),
                    escape_for_terminal(destination)));
  return ExitCode::ok;
}

}  // namespace lm::cmd
