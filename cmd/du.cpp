// lm du: who takes how much of the disk.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/local_store.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/table.h"

namespace lm::cmd {
namespace {

std::uint64_t total_of(const store::Usage& usage) {
  return usage.model_bytes + usage.unused_bytes + usage.partial_bytes + usage.cache_bytes;
}

std::string as_json(const store::Usage& usage, const std::string& home) {
  nlohmann::ordered_json document{{"home", home}, {"models", nlohmann::ordered_json::array()}};
  for (const store::ModelUsage& model : usage.models) {
    document["models"].push_back(
        {{"name", model.name}, {"unique", model.unique_bytes}, {"shared", model.shared_bytes}});
  }
  document["total"] = {{"models", usage.model_bytes},     {"partials", usage.partial_bytes},
                       {"cache", usage.cache_bytes},      {"unused", usage.unused_bytes},
                       {"all", total_of(usage)},          {"linked", usage.linked_bytes},
                       {"elsewhere", usage.foreign_bytes}};
  return dump_json(document) + "\n";
}

std::string as_table(const store::Usage& usage) {
  Table table({"NAME", "UNIQUE", "SHARED"});
  for (const store::ModelUsage& model : usage.models) {
    table.add({model.name, format_bytes(model.unique_bytes), format_bytes(model.shared_bytes)});
  }
  std::string text = table.text() + "\n";
  const auto row = [&text](std::string_view name, std::uint64_t bytes, std::string_view note) {
    text += fmt::format("{:<22}{}{}\n", name, format_bytes(bytes), note);
  };
  row("models", usage.model_bytes, "");
  row("unfinished downloads", usage.partial_bytes, "");
  row("cache", usage.cache_bytes, "");
  row("no model needs", usage.unused_bytes, usage.unused_bytes > 0 ? " (lm prune --all)" : "");
  row("total", total_of(usage), "");
  if (usage.linked_bytes > 0) {
    row("hard links among it", usage.linked_bytes, " (the owner's files are the same bytes)");
  }
  if (usage.foreign_bytes > 0) {
    row("elsewhere", usage.foreign_bytes, " (imported by reference, not in the total)");
  }
  return text;
}

}  // namespace

Result<ExitCode> du_command(CommandLine& line) {
  Arguments arguments(line);
  arguments.flag("--json", line.json, "print JSON");
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
  LM_TRY(store::Usage usage, store->usage());
  std::ranges::stable_sort(usage.models, std::greater{}, [](const store::ModelUsage& model) {
    return model.unique_bytes + model.shared_bytes;
  });
  print(line.json ? as_json(usage, store->home().string()) : as_table(usage));
  return ExitCode::ok;
}

}  // namespace lm::cmd
