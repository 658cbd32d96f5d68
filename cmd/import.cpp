// lm import: models that other programs, or the user, keep on this machine, without a second copy
// of their bytes where that can be helped.
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
#include "cmd/progress.h"
#include "cmd/puller.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"
#include "registry/local_models.h"
#include "server/api/chat_format.h"
#include "server/api/generation_options.h"

namespace lm::cmd {
namespace {

using registry::LocalModel;
using registry::LocalRefusal;

struct Imported {
  std::string name;
  std::string id;
  std::uint64_t size_bytes = 0;
  std::string how;  ///< "hard link", "copy"...; "here already"
};

std::string_view mode_name(store::AdoptMode mode) {
  switch (mode) {
    case store::AdoptMode::clone:
      return "reflink";
    case store::AdoptMode::link:
      return "hard link";
    case store::AdoptMode::reference:
      return "reference";
    default:
      return "copy";
  }
}

/// The GGUF's own template wins; one in Go's language is taken only where there is none.
void choose_template(const LocalModel& model, bool has_own, store::Manifest& manifest) {
  if (has_own || manifest.registry_template.empty()) {
    return;
  }
  if (api::compile_template(manifest.registry_template, model.name + ": template")) {
    manifest.chat_template = std::exchange(manifest.registry_template, "");
  } else {
    print_warning(fmt::format(
        "{}: its template is written in Go's language and can't be translated; a default is used",
        model.name));
  }
}

/// Parameters that this lm doesn't take are left out, with a line.
void choose_parameters(const LocalModel& model, store::Manifest& manifest) {
  api::ParameterTexts taken;
  std::vector<std::string> left_out;
  for (const auto& [name, values] : manifest.parameters) {
    for (const std::string& value : values) {
      if (!api::is_parameter(name) || !api::add_parameter(taken, name, value)) {
        left_out.push_back(name);
      }
    }
  }
  manifest.parameters = std::move(taken);
  if (!left_out.empty()) {
    print_warning(fmt::format("{}: parameters that this lm doesn't take are left out: {}",
                              model.name, fmt::join(left_out, ", ")));
  }
}

class Importer {
 public:
  Importer(LocalStore& store, bool copy) : store_(store), copy_(copy) {}

  Result<Imported> take(const LocalModel& model) {
    // Looked at before it is hashed: what is no model costs no minute.
    std::vector<std::filesystem::path> parts;
    for (const registry::LocalFile& file : model.files) {
      if (file.kind == store::LayerKind::model) {
        parts.push_back(file.path);
      }
    }
    LM_TRY(const registry::GgufSummary summary,
           registry_result(registry::Result<registry::GgufSummary>(inspect_gguf(parts))));
    store::Manifest manifest = model.additions;
    manifest.name = model.name;
    Imported imported{.name = model.name, .id = {}, .how = {}};
    bool all_there = true;
    for (const registry::LocalFile& file : model.files) {
      const std::string label = "adding " + file.file_name;
      LM_TRY(store::Adopted adopted,
             store_->adopt_file(
                 file.path, {.mode = copy_ ? store::AdoptMode::copy : store::AdoptMode::automatic,
                             .digest = file.digest,
                             .progress = [&](std::uint64_t done, std::uint64_t total) {
                               progress_.update(label, done, total);
                               return !interrupt_flag().load();
                             }}));
      progress_.finish_line();
      all_there = all_there && adopted.was_there;
      imported.how = adopted.was_there ? imported.how : mode_name(adopted.how);
      adopted.layer.kind = file.kind;
      adopted.layer.file_name = file.file_name;
      imported.size_bytes += adopted.layer.size_bytes;
      manifest.layers.push_back(std::move(adopted.layer));
    }
    if (const auto known = store_->find(model.name)) {
      if (!same_bytes(*known, manifest)) {
        return failure("already_exists", model.name, "another model has this name",
                       fmt::format("give that one another name: lm cp {0} NEW && lm rm {0}; or "
                                   "import the file with --name",
                                   model.name));
      }
      imported.how = "here already";
      LM_TRY(const store::OpenModel opened, store_->open_model(model.name, false));
      imported.id = opened.id;
      imported.name = opened.manifest.name;
      return imported;
    }
    if (all_there) {
      imported.how = "its bytes were here already";
    }
    manifest.architecture = summary.architecture;
    manifest.quantization = summary.quantization;
    manifest.parameter_count = summary.parameter_count;
    choose_template(model, summary.has_chat_template, manifest);
    choose_parameters(model, manifest);
    manifest.modified_unix = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    LM_TRY(imported.id, store_->put(manifest));
    return imported;
  }

 private:
  static bool same_bytes(const store::Manifest& a, const store::Manifest& b) {
    return std::ranges::equal(a.layers, b.layers, {}, &store::Layer::digest, &store::Layer::digest);
  }
  template <class T>
  static Result<T> registry_result(registry::Result<T> result) {
    if (!result) {
      return std::unexpected(Failure(result.error()));
    }
    return std::move(*result);
  }

  LocalStore& store_;
  bool copy_;
  ProgressDisplay progress_;
};

std::string as_json(const std::vector<Imported>& models, const std::vector<LocalRefusal>& refused) {
  nlohmann::ordered_json document{{"models", nlohmann::ordered_json::array()},
                                  {"refused", nlohmann::ordered_json::array()}};
  for (const Imported& model : models) {
    document["models"].push_back({{"name", model.name},
                                  {"digest", model.id},
                                  {"size", model.size_bytes},
                                  {"how", model.how}});
  }
  for (const LocalRefusal& refusal : refused) {
    document["refused"].push_back(
        {{"path", refusal.path.string()}, {"reason", refusal.reason}, {"fault", refusal.is_fault}});
  }
  return dump_json(document) + "\n";
}

struct ImportArguments {
  std::optional<std::string> path, from, name;
  bool copy = false, link = false, json = false;
};

Result<registry::LocalScan> scan(const ImportArguments& given) {
  if (given.from.has_value() == given.path.has_value()) {
    return usage_error("lm import", "takes either a path or --from",
                       "name a .gguf file, a folder of them, or --from ollama|hf-cache|lmstudio");
  }
  if (given.copy && given.link) {
    return usage_error("lm import", "takes --copy or --link, not both");
  }
  if (given.path) {
    LM_TRY(registry::LocalScan found, registry::scan_local_path(*given.path));
    return found;
  }
  const auto tool = registry::local_tool(*given.from);
  if (!tool) {
    return usage_error("lm import", fmt::format("--from takes ollama, hf-cache or lmstudio, got "
                                                "'{}'",
                                                *given.from));
  }
  LM_TRY(const std::filesystem::path folder, registry::local_tool_folder(*tool));
  LM_TRY(registry::LocalScan found, registry::scan_local_tool(*tool, folder));
  return found;
}

}  // namespace

Result<ExitCode> import_command(CommandLine& line) {
  ImportArguments given;
  Arguments arguments(line);
  arguments.text("--from", given.from, "TOOL", "ollama, hf-cache or lmstudio: all of its models");
  arguments.text("--name", given.name, "NAME", "what to call the one model that is imported");
  arguments.flag("--link", given.link,
                 "share the bytes: reflink, hard link or reference (default)");
  arguments.flag("--copy", given.copy, "copy the bytes");
  arguments.flag("--json", given.json, "print JSON");
  arguments.positional("PATH", given.path);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  line.json = given.json;
  if (given.name) {
    LM_CHECK(registry::ModelRef::parse(*given.name));
  }
  LM_TRY(registry::LocalScan found, scan(given));
  if (given.name && found.models.size() != 1) {
    return usage_error("lm import",
                       fmt::format("--name is for one model, {} were found", found.models.size()));
  }
  if (given.name) {
    LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(*given.name));
    found.models.front().name = ref.shortest();
  }
  LM_TRY(LocalStore store, LocalStore::open(LocalStore::Use::change));
  const GracefulInterrupt graceful;
  Importer importer(store, given.copy);
  std::vector<Imported> imported;
  for (const LocalModel& model : found.models) {
    auto taken = importer.take(model);
    if (!taken && (taken.error().exit == ExitCode::interrupted ||
                   taken.error().code == "no_space" || taken.error().code == "read_only")) {
      return std::unexpected(std::move(taken).error());
    }
    if (!taken) {
      found.refused.push_back(
          {.path = model.origin, .reason = Failure(taken.error()).text(), .is_fault = true});
      continue;
    }
    if (!given.json) {
      print(fmt::format("imported '{}' ({}, {})\n", escape_for_terminal(taken->name),
                        format_bytes(taken->size_bytes), taken->how));
      flush();
    }
    imported.push_back(std::move(*taken));
  }
  for (const LocalRefusal& refusal : found.refused) {
    print_warning(fmt::format("{}: not imported: {}", refusal.path.string(), refusal.reason));
  }
  store.clean_up();
  if (given.json) {
    print(as_json(imported, found.refused));
    line.json = false;  // one document: it says already what failed
  }
  const auto faults = std::ranges::count_if(found.refused, &LocalRefusal::is_fault);
  if (faults > 0 || (imported.empty() && given.path)) {
    return failure("failed", given.path ? *given.path : *given.from,
                   imported.empty() ? "nothing was imported"
                                    : fmt::format("{} of its models could not be imported", faults),
                   "the lines above say why");
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
