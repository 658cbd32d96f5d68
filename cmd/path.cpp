// lm path: where the files of a model are.
#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/local_store.h"
#include "cmd/output.h"
#include "cmd/resolve.h"

namespace lm::cmd {

Result<ExitCode> path_command(CommandLine& line) {
  std::string name;
  Arguments arguments(line);
  arguments.positional("MODEL", name);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
  LM_TRY(const store::Manifest manifest, find_stored(*store, name));
  LM_TRY(const store::OpenModel model, store->open_model(manifest.name, false));
  // Byte for byte, not escaped: programs open what they read here. A line feed in the path of a
  // foreign file is the one thing that can't be told from the next part.
  for (const std::filesystem::path& path : model.model_paths) {
    if (path.native().find('\n') != std::string::npos) {
      return failure("unsupported", path.native(), "has a line feed in its path",
                     "import the file with --copy");
    }
  }
  for (const std::filesystem::path& path : model.model_paths) {
    print(path.native() + "\n");
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
