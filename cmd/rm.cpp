// lm rm: a model's name, and the files that nobody else uses.
#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/local_store.h"
#include "cmd/output.h"
#include "cmd/resolve.h"
#include "cmd/terminal.h"

namespace lm::cmd {
namespace {

/// Removes under the first spelling that is known, be it a model or only an unfinished download.
Result<store::RemoveReport> remove_one(store::Store& store, const std::string& argument,
                                       bool dry_run) {
  LM_TRY(const std::vector<std::string> spellings, stored_spellings(store, argument));
  std::optional<Failure> first;
  for (const std::string& name : spellings) {
    // Looked for first, so that in a store that can't be written what isn't there is still not
    // found.
    auto removed = store.remove(name, true);
    if (removed && !dry_run) {
      removed = store.remove(name);
    }
    if (removed) {
      return std::move(*removed);
    }
    if (removed.error().code != store::ErrorCode::not_found) {
      return std::unexpected(Failure(removed.error()));
    }
    first = first ? first : Failure(removed.error());
  }
  return std::unexpected(*first);
}

}  // namespace

Result<ExitCode> remove_command(CommandLine& line) {
  std::vector<std::string> names;
  bool dry_run = false, force = false;
  Arguments arguments(line);
  arguments.flag("--dry-run", dry_run, "say what would be removed, remove nothing");
  arguments.flag("-f,--force", force, "a model that is not here is no error");
  arguments.rest("MODEL", names, 1);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  for (const std::string& name : names) {
    LM_CHECK(registry::ModelRef::parse(name));
  }
  LM_TRY(LocalStore store, LocalStore::open(LocalStore::Use::look));
  for (const std::string& name : names) {
    const auto removed = remove_one(*store, name, dry_run);
    if (removed) {
      const std::string shown = escape_for_terminal(removed->name);
      print(dry_run ? fmt::format("would delete '{}' and free {}\n", shown,
                                  format_bytes(removed->freed_bytes))
                    : fmt::format("deleted '{}'\n", shown));
    } else if (!force || removed.error().code != "not_found") {
      return std::unexpected(removed.error());
    }
  }
  if (!dry_run && store->is_writable()) {
    store.clean_up();
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
