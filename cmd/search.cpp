// lm search: models on the hub.
#include "registry/search.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/retry_note.h"
#include "cmd/signals.h"
#include "cmd/table.h"

namespace lm::cmd {
namespace {

std::string as_table(const std::vector<registry::FoundModel>& models) {
  Table table({"NAME", "DOWNLOADS", "LIKES", "MODIFIED"});
  for (const registry::FoundModel& model : models) {
    table.add({"hf.co/" + model.repo, fmt::format("{}", model.downloads),
               fmt::format("{}", model.likes),
               (model.modified.empty() ? "-" : model.modified) + (model.gated ? " (gated)" : "")});
  }
  return table.text();
}

std::string as_json(const std::vector<registry::FoundModel>& models) {
  nlohmann::ordered_json document{{"models", nlohmann::ordered_json::array()}};
  for (const registry::FoundModel& model : models) {
    document["models"].push_back({{"name", "hf.co/" + model.repo},
                                  {"downloads", model.downloads},
                                  {"likes", model.likes},
                                  {"modified", model.modified},
                                  {"gated", model.gated}});
  }
  return dump_json(document) + "\n";
}

}  // namespace

Result<ExitCode> search_command(CommandLine& line) {
  std::vector<std::string> words;
  std::optional<std::int64_t> limit;
  Arguments arguments(line);
  arguments.integer("--limit", limit, 1, registry::kMaxSearchResults,
                    "models at most (default: 20)");
  arguments.flag("--json", line.json, "print JSON");
  arguments.rest("TERM", words, 1);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const registry::HubSettings settings, registry::hub_settings_from_environment());
  const GracefulInterrupt graceful;
  registry::HttpClient http(settings, interrupt_flag(), print_retry);
  registry::HubClient hub(http, [](std::string text) { print_warning(text); });
  LM_TRY(const std::vector<registry::FoundModel> found,
         registry::search_hub(hub, fmt::format("{}", fmt::join(words, " ")),
                              static_cast<unsigned>(limit.value_or(20))));
  print(line.json ? as_json(found) : as_table(found));
  if (found.empty() && !line.json) {
    print_note("no model with GGUF files matches");
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
