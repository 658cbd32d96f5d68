// lm pull: models from the hub into the store.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/fit_subject.h"
#include "cmd/format.h"
#include "cmd/output.h"
#include "cmd/puller.h"

namespace lm::cmd {
namespace {

struct PullArguments {
  std::vector<std::string> names;
  std::optional<std::string> quant, file, revision, limit_rate;
  std::optional<std::int64_t> connections;
  bool fit = false;
  bool dry_run = false;
  bool insecure = false;
};

void print_dry_run(const registry::PullResult& result, bool json) {
  if (json) {
    print(nlohmann::ordered_json{{"name", result.name},
                                 {"repo", result.repo},
                                 {"commit", result.commit},
                                 {"quant", result.label},
                                 {"files", result.files},
                                 {"total", result.total_bytes}}
              .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
          "\n");
    return;
  }
  print(fmt::format("{}: {} from {} at {}, {}\n", result.name, result.label, result.repo,
                    result.commit.substr(0, 12), format_bytes(result.total_bytes)));
  for (const std::string& file : result.files) {
    print(fmt::format("  {}\n", file));
  }
}

Result<void> pull_one(LocalStore& store, const std::string& name, const PullArguments& given,
                      registry::PullOptions options, bool json) {
  LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(name));
  if (given.fit) {
    LM_TRY(FittingQuant fitting, fitting_quant(ref));
    print_note(fitting.reason);
    options.quant = std::move(fitting.quant);
  }
  LM_TRY(const registry::PullResult result,
         pull_with_progress(store, ref, options, given.insecure,
                            json ? PullDisplay::frames : PullDisplay::progress));
  if (options.dry_run) {
    print_dry_run(result, json);
  } else if (result.already_current && !json) {
    print_note(fmt::format("{} is up to date", result.name));
  }
  return {};
}

}  // namespace

Result<ExitCode> pull_command(CommandLine& line) {
  PullArguments given;
  Arguments arguments(line);
  arguments.text("--quant", given.quant, "Q", "quantisation to take, for example Q4_K_M");
  arguments.flag("--fit", given.fit, "take the quantisation that suits this machine best");
  arguments.text("--file", given.file, "NAME", "exact file of the repository");
  arguments.text("--revision", given.revision, "REV", "branch, tag or commit (default: main)");
  arguments.text("--limit-rate", given.limit_rate, "RATE",
                 "bytes a second over all connections: 20M");
  arguments.integer("--connections", given.connections, 1, 16,
                    "connections at once (default: chosen by speed)");
  arguments.flag("--dry-run", given.dry_run, "say what would be fetched, fetch nothing");
  arguments.flag("--insecure", given.insecure, "accept plain http and unverified certificates");
  arguments.flag("--json", line.json, "print progress as JSON, one object a line");
  arguments.rest("MODEL", given.names, 1);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (given.fit && (given.quant || given.file)) {
    return usage_error("lm pull", "--fit chooses the file: leave --quant and --file out");
  }
  registry::PullOptions options{.quant = given.quant.value_or(""),
                                .file = given.file.value_or(""),
                                .revision = given.revision.value_or(""),
                                .connections = static_cast<unsigned>(given.connections.value_or(0)),
                                .limit_rate = 0,
                                .dry_run = given.dry_run};
  if (given.limit_rate) {
    const auto rate = parse_bytes(*given.limit_rate);
    if (!rate || *rate == 0) {
      return usage_error("lm pull", fmt::format("--limit-rate '{}' is no rate", *given.limit_rate),
                         "give bytes a second, for example 20M");
    }
    options.limit_rate = *rate;
  }
  // All names are checked before the first byte travels.
  for (const std::string& name : given.names) {
    LM_CHECK(registry::ModelRef::parse(name));
  }
  LM_TRY(LocalStore store,
         LocalStore::open(given.dry_run ? LocalStore::Use::look : LocalStore::Use::change));
  for (const std::string& name : given.names) {
    LM_CHECK(pull_one(store, name, given, options, line.json));
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
