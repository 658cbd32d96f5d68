// lm update: newer commits of stored models.
#include "registry/update.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/puller.h"
#include "cmd/resolve.h"
#include "cmd/table.h"

namespace lm::cmd {
namespace {

enum class State {
  current,
  newer,  ///< with --check: there is something to fetch
  updated,
  pinned,  ///< to a commit
  local,   ///< made here
  failed,
};

struct Outcome {
  std::string name;
  State state = State::local;
  std::string commit = {};
  std::string new_commit = {};
  std::uint64_t new_bytes = 0;  ///< size of the newer model
  std::string problem = {};
};

std::string_view state_name(State state) {
  switch (state) {
    case State::current:
      return "current";
    case State::newer:
      return "newer";
    case State::updated:
      return "updated";
    case State::pinned:
      return "pinned";
    case State::local:
      return "local";
    case State::failed:
      break;
  }
  return "failed";
}

/// Asks the source of one model, and fetches what is newer unless `check`. A failure of one model
/// is its outcome; only an interrupt ends the command.
Result<Outcome> update_one(LocalStore& store, const store::Manifest& manifest, bool check,
                           bool insecure) {
  Outcome outcome{.name = manifest.name, .commit = manifest.source_commit};
  auto origin = registry::origin_of(manifest);
  if (!origin || origin->pinned) {
    outcome.state = origin ? State::pinned : State::local;
    return outcome;
  }
  origin->options.dry_run = true;
  auto asked =
      pull_with_progress(store, origin->ref, origin->options, insecure, PullDisplay::nothing);
  if (asked && !asked->already_current && !check) {
    origin->options.dry_run = false;
    print_note(fmt::format("updating {}", manifest.name));
    asked =
        pull_with_progress(store, origin->ref, origin->options, insecure, PullDisplay::progress);
    outcome.state = State::updated;
  } else if (asked) {
    outcome.state = asked->already_current ? State::current : State::newer;
  }
  if (!asked) {
    if (asked.error().exit == ExitCode::interrupted) {
      return std::unexpected(std::move(asked).error());
    }
    outcome.state = State::failed;
    outcome.problem = asked.error().text();
    return outcome;
  }
  outcome.new_commit = asked->commit;
  outcome.new_bytes = asked->total_bytes;
  return outcome;
}

std::string as_table(const std::vector<Outcome>& outcomes) {
  Table table({"NAME", "STATE", "COMMIT", "NEW", "SIZE"});
  for (const Outcome& outcome : outcomes) {
    const bool moved = outcome.state == State::newer || outcome.state == State::updated;
    table.add({outcome.name, std::string(state_name(outcome.state)),
               outcome.commit.empty() ? "-" : outcome.commit.substr(0, 12),
               moved && !outcome.new_commit.empty() ? outcome.new_commit.substr(0, 12) : "-",
               moved ? format_bytes(outcome.new_bytes) : "-"});
  }
  return table.text();
}

std::string as_json(const std::vector<Outcome>& outcomes) {
  nlohmann::ordered_json document{{"models", nlohmann::ordered_json::array()}};
  for (const Outcome& outcome : outcomes) {
    nlohmann::ordered_json entry{
        {"name", outcome.name}, {"state", state_name(outcome.state)}, {"commit", outcome.commit}};
    if (!outcome.new_commit.empty()) {
      entry["new_commit"] = outcome.new_commit;
      entry["new_size"] = outcome.new_bytes;
    }
    if (!outcome.problem.empty()) {
      entry["error"] = outcome.problem;
    }
    document["models"].push_back(std::move(entry));
  }
  return dump_json(document) + "\n";
}

}  // namespace

Result<ExitCode> update_command(CommandLine& line) {
  std::vector<std::string> names;
  bool check = false, insecure = false;
  Arguments arguments(line);
  arguments.flag("--check", check, "only say what is newer, fetch nothing");
  arguments.flag("--insecure", insecure, "accept plain http and unverified certificates");
  arguments.flag("--json", line.json, "print JSON");
  arguments.rest("MODEL", names, 0);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(LocalStore store,
         LocalStore::open(check ? LocalStore::Use::look : LocalStore::Use::change));
  std::vector<store::Manifest> manifests;
  for (const std::string& name : names) {
    LM_TRY(store::Manifest manifest, find_stored(*store, name));
    if (!registry::origin_of(manifest)) {
      return failure("unsupported", manifest.name, "it was not pulled, so nobody can be asked",
                     "make it again: lm create");
    }
    manifests.push_back(std::move(manifest));
  }
  if (names.empty()) {
    LM_TRY(const std::vector<store::ModelEntry> entries, store->list());
    for (const store::ModelEntry& entry : entries) {
      LM_TRY(store::Manifest manifest, find_stored(*store, entry.name));
      manifests.push_back(std::move(manifest));
    }
  }
  std::vector<Outcome> outcomes;
  std::size_t failed = 0;
  for (const store::Manifest& manifest : manifests) {
    LM_TRY(Outcome outcome, update_one(store, manifest, check, insecure));
    if (outcome.state == State::failed) {
      ++failed;
      print_warning(fmt::format("{}: {}", outcome.name, outcome.problem));
    }
    outcomes.push_back(std::move(outcome));
  }
  print(line.json ? as_json(outcomes) : as_table(outcomes));
  if (failed > 0) {
    line.json = false;  // the document above has said it
    return failure("failed", fmt::format("{} of {} models", failed, outcomes.size()),
                   "could not be asked for or fetched", "see the warnings above");
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
