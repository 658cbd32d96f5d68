// lm list: what is in the store.
#include <algorithm>
#include <chrono>

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

using store::ModelEntry;
using store::PartialEntry;

std::int64_t unix_now() {
  return std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
}

/// The store gives the newest first; other orders are made here.
Result<void> sort_by(std::vector<ModelEntry>& models, const std::string& key) {
  if (key == "name") {
    std::ranges::stable_sort(models, {}, &ModelEntry::name);
  } else if (key == "size") {
    std::ranges::stable_sort(models, std::greater{}, &ModelEntry::size_bytes);
  } else if (key == "modified") {
    std::ranges::stable_sort(models, std::greater{}, &ModelEntry::modified_unix);
  } else if (key == "used") {
    std::ranges::stable_sort(models, std::greater{}, &ModelEntry::used_unix);
  } else {
    return usage_error("lm list",
                       fmt::format("--sort takes name, size, modified or used, got '{}'", key));
  }
  return {};
}

bool has_prefix(const std::string& name, const std::string& prefix) {
  return name.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), name.begin(), [](char a, char b) {
           const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c + 0; };
           return lower(a) == lower(b);
         });
}

std::uint64_t percent_done(const PartialEntry& partial) {
  return partial.total_bytes == 0
             ? 0
             : static_cast<std::uint64_t>(100.0 * static_cast<double>(partial.done_bytes) /
                                          static_cast<double>(partial.total_bytes));
}

std::string as_table(const std::vector<ModelEntry>& models,
                     const std::vector<PartialEntry>& partials, bool all) {
  std::vector<std::string> header{"NAME", "ID", "SIZE", "MODIFIED"};
  if (all) {
    header.emplace_back("USED");
    header.emplace_back("STATE");
  }
  Table table(std::move(header));
  const std::int64_t now = unix_now();
  for (const ModelEntry& model : models) {
    table.add({model.name, model.id.substr(0, 12), format_bytes(model.size_bytes),
               format_relative(model.modified_unix, now), format_relative(model.used_unix, now),
               "complete"});
  }
  for (const PartialEntry& partial : partials) {
    table.add(
        {partial.name.empty() ? partial.file : partial.name, "-",
         fmt::format("{}/{}", format_bytes(partial.done_bytes), format_bytes(partial.total_bytes)),
         format_relative(partial.modified_unix, now), "-",
         fmt::format("partial {}%", percent_done(partial))});
  }
  return table.text();
}

std::string as_json(const std::vector<ModelEntry>& models,
                    const std::vector<PartialEntry>& partials, bool all) {
  nlohmann::ordered_json document{{"models", nlohmann::ordered_json::array()}};
  for (const ModelEntry& model : models) {
    document["models"].push_back(listed_json(model));
    if (all) {
      document["models"].back()["used_at"] =
          model.used_unix == 0 ? std::string() : format_time(model.used_unix);
    }
  }
  if (all) {
    document["partials"] = nlohmann::ordered_json::array();
    for (const PartialEntry& partial : partials) {
      document["partials"].push_back({{"name", partial.name},
                                      {"file", partial.file},
                                      {"completed", partial.done_bytes},
                                      {"total", partial.total_bytes},
                                      {"modified_at", format_time(partial.modified_unix)}});
    }
  }
  return dump_json(document) + "\n";
}

}  // namespace

Result<ExitCode> list_command(CommandLine& line) {
  std::optional<std::string> prefix, sort;
  bool all = false, quiet = false;
  Arguments arguments(line);
  arguments.flag("-a,--all", all, "unfinished downloads and times of use too");
  arguments.flag("-q,--quiet", quiet, "names only");
  arguments.text("--sort", sort, "KEY", "name, size, modified or used (default: modified)");
  arguments.flag("--json", line.json, "print JSON");
  arguments.positional("PREFIX", prefix);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
  LM_TRY(std::vector<ModelEntry> models, store->list(prefix.value_or("")));
  if (sort) {
    LM_CHECK(sort_by(models, *sort));
  }
  std::vector<PartialEntry> partials;
  if (all) {
    LM_TRY(partials, store->partials());
    std::erase_if(partials,
                  [&](const PartialEntry& p) { return !has_prefix(p.name, prefix.value_or("")); });
  }
  if (line.json) {
    print(as_json(models, partials, all));
  } else if (quiet) {
    for (const ModelEntry& model : models) {
      print(model.name + "\n");
    }
  } else {
    print(as_table(models, partials, all));
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
