// lm prune: what no model needs goes.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/local_store.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/terminal.h"

namespace lm::cmd {

Result<ExitCode> prune_command(CommandLine& line) {
  bool all = false, dry_run = false;
  Arguments arguments(line);
  arguments.flag("--all", all,
                 "whatever its age: also today's unfinished downloads, unless lm works on them");
  arguments.flag("--dry-run", dry_run, "say what would go, delete nothing");
  arguments.flag("--json", line.json, "print JSON");
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  store::PruneOptions options{.dry_run = dry_run};
  if (all) {
    options.blob_age = options.partial_age = std::chrono::seconds(0);
    options.old_indexes = true;
  }
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
  store::PruneReport report;
  std::error_code ignored;
  if (std::filesystem::exists(store->home(), ignored)) {
    LM_TRY(report, store->prune(options));
  }
  if (line.json) {
    nlohmann::ordered_json document{{"dry_run", dry_run},
                                    {"freed", report.freed_bytes},
                                    {"files", nlohmann::ordered_json::array()}};
    for (const store::PrunedFile& file : report.files) {
      document["files"].push_back({{"path", file.path.string()}, {"size", file.size_bytes}});
    }
    print(dump_json(document) + "\n");
    return ExitCode::ok;
  }
  for (const store::PrunedFile& file : report.files) {
    print(fmt::format("{} {} ({})\n", dry_run ? "would delete" : "deleted",
                      escape_for_terminal(file.path.string()), format_bytes(file.size_bytes)));
  }
  print(fmt::format("{} {}\n", dry_run ? "would free" : "freed", format_bytes(report.freed_bytes)));
  return ExitCode::ok;
}

}  // namespace lm::cmd
