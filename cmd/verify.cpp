// lm verify: every byte of the store against its digest; what is damaged is fetched again. With
// --weights every value of every tensor too.
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/local_store.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/progress.h"
#include "cmd/resolve.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"
#include "registry/mend.h"
#include "runtime/model/weight_scan.h"

namespace lm::cmd {
namespace {

using store::BlobCheck;

/// One blob of one model, as it was found and what became of it.
struct BlobReport {
  store::Layer layer;
  BlobCheck check;
  bool repaired = false;
  std::uint64_t fetched_bytes = 0;
  std::optional<Failure> not_repaired;  ///< why

  bool is_damaged() const { return check.state != BlobCheck::State::good && !repaired; }
};

struct ModelReport {
  std::string name;
  std::vector<BlobReport> blobs;
  std::optional<WeightScan> weights = {};  ///< when asked for, of a model that isn't damaged
  std::optional<Failure> unreadable = {};  ///< why its weights can't be looked at

  bool is_damaged() const { return std::ranges::any_of(blobs, &BlobReport::is_damaged); }
  bool is_repaired() const {
    return !is_damaged() && std::ranges::any_of(blobs, &BlobReport::repaired);
  }
  /// The bytes are what they were, and no model that can run.
  bool has_bad_weights() const { return unreadable || (weights && !weights->bad.empty()); }
  bool is_wrong() const { return is_damaged() || has_bad_weights(); }
  std::string_view state() const {
    return is_damaged()        ? "damaged"
           : has_bad_weights() ? "bad_weights"
           : is_repaired()     ? "repaired"
                               : "sound";
  }
};

std::string_view state_name(BlobCheck::State state) {
  switch (state) {
    case BlobCheck::State::good:
      return "good";
    case BlobCheck::State::missing:
      return "missing";
    case BlobCheck::State::wrong_size:
      return "wrong_size";
    case BlobCheck::State::wrong_bytes:
      return "wrong_bytes";
  }
  return "unknown";
}

/// What is wrong with a blob, in words.
std::string damage_of(const BlobReport& blob) {
  const BlobCheck& check = blob.check;
  std::string text = fmt::format("blob {}: ", blob.layer.digest.blob_name());
  if (check.state == BlobCheck::State::missing) {
    return text + "it is missing";
  }
  text +=
      check.state == BlobCheck::State::wrong_size
          ? fmt::format("it has {} bytes, expected {}", check.found_bytes, blob.layer.size_bytes)
          : "its bytes are not what they were";
  if (check.has_sums) {
    constexpr std::size_t kShown = 12;
    const std::size_t n = check.bad_chunks.size();
    const std::span shown = std::span(check.bad_chunks).first(std::min(n, kShown));
    text += fmt::format("; damaged: chunk{} {}{} of {} (16 MiB each, counted from 0)",
                        n == 1 ? "" : "s", fmt::join(shown, ", "), n > kShown ? ", ..." : "",
                        store::chunk_count(blob.layer.size_bytes));
  } else {
    text += "; no checksums of its chunks were kept, so all of it counts as damaged";
  }
  return text;
}

/// Hashes and repairs; a blob that several models share is read once.
class Verifier {
 public:
  Verifier(LocalStore& store, registry::HubSettings hub, ProgressDisplay::Style style,
           bool scan_weights)
      : store_(store), hub_(std::move(hub)), progress_(style), scan_weights_(scan_weights) {}

  Result<ModelReport> check(const store::Manifest& manifest) {
    ModelReport report{.name = manifest.name, .blobs = {}};
    for (const store::Layer& layer : manifest.layers) {
      if (std::ranges::any_of(report.blobs, [&](const BlobReport& known) {
            return known.layer.digest == layer.digest;
          })) {
        continue;
      }
      LM_TRY(BlobReport blob, check_blob(layer));
      if (blob.is_damaged()) {
        progress_.finish_line();
        print_warning(fmt::format("{}: {}", manifest.name, damage_of(blob)));
        LM_CHECK(repair(manifest, blob));
        known_.insert_or_assign(layer.digest, blob);
      }
      report.blobs.push_back(std::move(blob));
    }
    progress_.finish_line();
    if (scan_weights_ && !report.is_damaged()) {
      if (auto scanned = look_at_weights(manifest.name)) {
        report.weights = std::move(*scanned);
      } else if (scanned.error().exit == ExitCode::interrupted) {
        return std::unexpected(std::move(scanned).error());
      } else {
        report.unreadable = std::move(scanned).error();
      }
      progress_.finish_line();
    }
    return report;
  }

 private:
  Result<WeightScan> look_at_weights(const std::string& name) {
    LM_TRY(store::OpenModel opened, store_->open_model(name, false));
    LM_TRY(const ResolvedModel model, open_stored(std::move(opened)));
    LM_TRY(WeightScan scanned,
           scan_weights(model.file, [&](std::uint64_t done, std::uint64_t total) {
             progress_.update("reading weights", done, total);
             return !interrupt_flag().load();
           }));
    return scanned;
  }

  Result<BlobReport> check_blob(const store::Layer& layer) {
    if (const auto known = known_.find(layer.digest); known != known_.end()) {
      BlobReport blob = known->second;
      blob.layer = layer;
      return blob;
    }
    const std::string label = "verifying " + layer.digest.hex().substr(0, 12);
    BlobReport blob{.layer = layer, .check = {}, .not_repaired = std::nullopt};
    LM_TRY(blob.check, store_->verify_blob(layer.digest, layer.size_bytes,
                                           [&](std::uint64_t done, std::uint64_t total) {
                                             progress_.update(label, done, total);
                                             return !interrupt_flag().load();
                                           }));
    known_.emplace(layer.digest, blob);
    return blob;
  }

  /// Only an interrupt ends the whole; any other failure is one blob's.
  Result<void> repair(const store::Manifest& manifest, BlobReport& blob) {
    if (!store_->is_writable()) {
      blob.not_repaired = Failure("read_only", manifest.name, "the store can't be written",
                                  "set LM_HOME to a folder that can be written");
      return {};
    }
    const auto sink = [this](const registry::PullEvent& event) {
      using Kind = registry::PullEvent::Kind;
      if (event.kind == Kind::warning) {
        progress_.finish_line();
        print_warning(event.text);
      } else if (event.kind == Kind::status || event.kind == Kind::done) {
        progress_.status(event.text);
      } else {
        progress_.update("repairing " + event.digest.substr(7, 12), event.completed_bytes,
                         event.total_bytes);
      }
    };
    const auto fetched =
        registry::mend_blob(*store_, hub_, manifest, blob.layer, sink, interrupt_flag());
    progress_.finish_line();
    if (fetched) {
      blob.repaired = true;
      blob.fetched_bytes = *fetched;
    } else if (fetched.error().code == store::ErrorCode::interrupted) {
      return std::unexpected(Failure(fetched.error()));
    } else {
      blob.not_repaired = Failure(fetched.error());
    }
    return {};
  }

  LocalStore& store_;
  registry::HubSettings hub_;
  ProgressDisplay progress_;
  bool scan_weights_;
  std::map<store::Digest, BlobReport> known_;
};

std::string as_text(const ModelReport& model) {
  std::string text = fmt::format("{}: {}\n", escape_for_terminal(model.name), model.state());
  for (const BlobReport& blob : model.blobs) {
    if (blob.repaired) {
      text += fmt::format("  blob {}: repaired, {} fetched\n", blob.layer.digest.blob_name(),
                          format_bytes(blob.fetched_bytes));
    } else if (blob.is_damaged()) {
      text += fmt::format("  {}\n", damage_of(blob));
      if (blob.not_repaired) {
        text += fmt::format("  not repaired: {}\n", blob.not_repaired->text());
      }
    }
  }
  if (model.unreadable) {
    text += fmt::format("  its weights can't be read: {}\n", model.unreadable->text());
  } else if (model.weights) {
    for (const BadTensor& bad : model.weights->bad) {
      text +=
          fmt::format("  tensor '{}': {} of {} values are NaN or infinite, the first in row {}\n",
                      escape_for_terminal(bad.name), bad.bad_values, bad.values, bad.first_row);
    }
    if (model.weights->bad.empty()) {
      text += fmt::format("  all values of {} tensors are finite\n",
                          model.weights->tensors - model.weights->not_checked.size());
    }
  }
  return text;
}

/// What --weights found, for --json.
nlohmann::ordered_json weights_json(const WeightScan& scan) {
  nlohmann::ordered_json bad = nlohmann::ordered_json::array();
  for (const BadTensor& tensor : scan.bad) {
    bad.push_back({{"tensor", tensor.name},
                   {"bad_values", tensor.bad_values},
                   {"values", tensor.values},
                   {"first_row", tensor.first_row}});
  }
  return {{"tensors", scan.tensors}, {"not_checked", scan.not_checked}, {"bad", std::move(bad)}};
}

std::string as_json(const std::vector<ModelReport>& models,
                    const std::vector<store::Error>& unreadable) {
  nlohmann::ordered_json document{{"models", nlohmann::ordered_json::array()}};
  for (const ModelReport& model : models) {
    nlohmann::ordered_json blobs = nlohmann::ordered_json::array();
    for (const BlobReport& blob : model.blobs) {
      nlohmann::ordered_json row{{"digest", blob.layer.digest.text()},
                                 {"size", blob.layer.size_bytes},
                                 {"state", state_name(blob.check.state)}};
      if (blob.check.state != BlobCheck::State::good) {
        row["found_bytes"] = blob.check.found_bytes;
        if (blob.check.has_sums) {
          row["bad_chunks"] = blob.check.bad_chunks;
        }
        row["repaired"] = blob.repaired;
        row["fetched"] = blob.fetched_bytes;
        if (blob.not_repaired) {
          row["error"] = {{"code", blob.not_repaired->code},
                          {"message", blob.not_repaired->text()}};
        }
      }
      blobs.push_back(std::move(row));
    }
    document["models"].push_back(
        {{"name", model.name}, {"state", model.state()}, {"blobs", std::move(blobs)}});
    nlohmann::ordered_json& row = document["models"].back();
    if (model.weights) {
      row["weights"] = weights_json(*model.weights);
    } else if (model.unreadable) {
      row["weights"] = {
          {"error", {{"code", model.unreadable->code}, {"message", model.unreadable->text()}}}};
    }
  }
  document["unreadable"] = nlohmann::ordered_json::array();
  for (const store::Error& error : unreadable) {
    document["unreadable"].push_back({{"file", error.subject}, {"problem", error.problem}});
  }
  return dump_json(document) + "\n";
}

Result<std::vector<store::Manifest>> manifests_of(const store::Store& store,
                                                  const std::vector<std::string>& names) {
  std::vector<store::Manifest> manifests;
  for (const std::string& name : names) {
    LM_TRY(store::Manifest manifest, find_stored(store, name));
    manifests.push_back(std::move(manifest));
  }
  if (names.empty()) {
    LM_TRY(const std::vector<store::ModelEntry> entries, store.list());
    for (const store::ModelEntry& entry : entries) {
      LM_TRY(store::Manifest manifest, store.find(entry.name));
      manifests.push_back(std::move(manifest));
    }
  }
  return manifests;
}

}  // namespace

Result<ExitCode> verify_command(CommandLine& line) {
  std::vector<std::string> names;
  bool json = false, weights = false;
  Arguments arguments(line);
  arguments.flag("--weights", weights,
                 "look at every value of every tensor too: NaN and infinity are damage");
  arguments.flag("--json", json, "print JSON");
  arguments.rest("MODEL", names, 0);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  line.json = json;
  for (const std::string& name : names) {
    LM_CHECK(registry::ModelRef::parse(name));
  }
  LM_TRY(registry::HubSettings hub, registry::hub_settings_from_environment());
  LM_TRY(LocalStore store, LocalStore::open(LocalStore::Use::look));
  LM_TRY(const std::vector<store::Manifest> manifests, manifests_of(*store, names));
  std::vector<store::Error> unreadable;
  if (names.empty()) {
    LM_TRY(unreadable, store->damaged_manifests());
  }
  const GracefulInterrupt graceful;
  std::vector<ModelReport> reports;
  Verifier verifier(store, std::move(hub), ProgressDisplay::Style::automatic, weights);
  for (const store::Manifest& manifest : manifests) {
    LM_TRY(ModelReport report, verifier.check(manifest));
    if (!json) {
      print(as_text(report));
      flush();
    }
    reports.push_back(std::move(report));
  }
  if (json) {
    print(as_json(reports, unreadable));
    line.json = false;  // one document: it says already what failed
  }
  const auto damaged = std::ranges::count_if(reports, &ModelReport::is_damaged);
  const auto wrong = std::ranges::count_if(reports, &ModelReport::is_wrong);
  if (wrong == 0 && unreadable.empty()) {
    return ExitCode::ok;
  }
  if (wrong == 0) {
    return failure("corrupt", unreadable.front().subject, unreadable.front().problem,
                   "repair or remove the file; lm pull or lm create brings the model back");
  }
  if (damaged == 0) {
    return failure("bad_weights", store->home().string(),
                   fmt::format("{} of {} models {} weights that can't be used", wrong,
                               reports.size(), wrong == 1 ? "has" : "have"),
                   "their bytes are as they were published: take another quantisation or another "
                   "publisher's file");
  }
  return failure("corrupt", store->home().string(),
                 fmt::format("{} of {} models {} damaged", damaged, reports.size(),
                             damaged == 1 ? "is" : "are"),
                 "run lm verify again when the hub can be reached, or make the model again: "
                 "lm pull, lm import or lm create");
}

}  // namespace lm::cmd
