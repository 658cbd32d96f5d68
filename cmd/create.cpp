// lm create: a model from a Modelfile. The GGUF is linked or cloned into the store, never copied
// where that can be helped.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/model_text.h"
#include "cmd/modelfile.h"
#include "cmd/output.h"
#include "cmd/progress.h"
#include "cmd/puller.h"
#include "cmd/resolve.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"
#include "cmd/text_file.h"
#include "runtime/model/model.h"
#include "server/api/chat_format.h"

namespace lm::cmd {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxModelfileBytes = 4u << 20;

/// The path that a FROM means, relative to the Modelfile; none when it is a model's name.
std::optional<fs::path> from_path(const std::string& from, const fs::path& folder) {
  fs::path path(from);
  if (const char* home = std::getenv("HOME");
      home != nullptr && (from == "~" || from.starts_with("~/"))) {
    path = fs::path(home) / from.substr(std::min<std::size_t>(2, from.size()));
  }
  if (path.is_relative()) {
    path = folder / path;
  }
  std::error_code ignored;
  const bool looks_like_one = from.starts_with('/') || from.starts_with('.') ||
                              from.starts_with('~') || registry::is_local_path(from);
  if (looks_like_one || fs::exists(path, ignored)) {
    return path;
  }
  return std::nullopt;
}

/// The GGUF files of a folder.
Result<std::vector<fs::path>> ggufs_in(const fs::path& folder) {
  std::vector<fs::path> found;
  bool safetensors = false;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string extension = it->path().extension().string();
    if (extension == ".gguf" && !it->path().filename().string().starts_with("mmproj")) {
      found.push_back(it->path());
    }
    safetensors = safetensors || extension == ".safetensors";
  }
  if (error) {
    Failure failed("io", folder.string(), "can't be listed");
    failed.os_error = error.value();
    return std::unexpected(std::move(failed));
  }
  if (found.empty()) {
    return safetensors ? failure("unsupported", folder.string(),
                                 "holds safetensors, which are not supported",
                                 "convert the model to GGUF first")
                       : failure("not_found", folder.string(), "holds no .gguf file");
  }
  std::ranges::sort(found);
  return found;
}

/// Opens GGUF files as one model: all parts of a split set, or one file (its siblings come by
/// themselves).
Result<GgufFile> open_parts(const std::vector<fs::path>& paths) {
  if (paths.size() == 1) {
    LM_TRY(GgufFile file, GgufFile::open(paths.front()));
    return file;
  }
  std::vector<std::unique_ptr<ByteSource>> parts;
  for (const fs::path& path : paths) {
    LM_TRY(auto part, open_mapped(path));
    parts.push_back(std::move(part));
  }
  LM_TRY(GgufFile file, GgufFile::read(std::move(parts)));
  return file;
}

/// Takes local files into the store as the layers of `manifest`.
Result<void> add_files(store::Store& store, const std::vector<fs::path>& paths,
                       store::Manifest& manifest) {
  print_note("parsing GGUF");
  std::vector<fs::path> parts;
  {
    LM_TRY(const GgufFile file, open_parts(paths));
    LM_TRY(const ModelSummary summary, summarize(file));
    manifest.architecture = summary.architecture;
    manifest.quantization = summary.quantization;
    manifest.parameter_count = summary.parameter_count;
    for (const auto& part : file.parts()) {
      parts.emplace_back(part->name());
    }
  }
  const GracefulInterrupt graceful;
  ProgressDisplay progress;
  for (const fs::path& part : parts) {
    const std::string label = "adding " + part.filename().string();
    LM_TRY(store::Layer layer, store.add_file(part, [&](std::uint64_t done, std::uint64_t total) {
      progress.update(label, done, total);
      return !interrupt_flag().load();
    }));
    layer.kind = store::LayerKind::model;
    layer.file_name = part.filename().string();
    progress.finish_line();
    manifest.layers.push_back(std::move(layer));
  }
  return {};
}

/// The model that FROM stands for: files taken in, or a stored model (pulled when it is not here).
Result<store::Manifest> base_manifest(LocalStore& store, const Modelfile& file,
                                      const fs::path& folder) {
  store::Manifest manifest;
  std::vector<fs::path> paths;
  for (const std::string& from : file.from) {
    const auto path = from_path(from, folder);
    if (!path && file.from.size() > 1) {
      return failure("bad_modelfile", "FROM", fmt::format("'{}' is no file", from),
                     "several FROM lines name the parts of one split GGUF");
    }
    std::error_code ignored;
    if (path && fs::is_directory(*path, ignored)) {
      LM_TRY(const std::vector<fs::path> found, ggufs_in(*path));
      paths.insert(paths.end(), found.begin(), found.end());
    } else if (path) {
      paths.push_back(*path);
    }
  }
  if (!paths.empty()) {
    LM_CHECK(add_files(*store, paths, manifest));
    return manifest;
  }
  const std::string& name = file.from.front();
  auto found = find_stored(*store, name);
  if (!found && found.error().code == "not_found") {
    LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(name));
    LM_TRY(const registry::PullResult pulled,
           pull_with_progress(store, ref, {}, false, PullDisplay::progress));
    LM_TRY(manifest, store->find(pulled.name));
    return manifest;
  }
  return found;
}

/// What the Modelfile says wins over what the base brings.
void apply(const Modelfile& file, store::Manifest& manifest) {
  for (const auto& [name, values] : file.parameters) {
    manifest.parameters[name] = values;
  }
  if (file.has_template) {
    manifest.chat_template = file.chat_template;
  }
  if (file.has_system) {
    manifest.system = file.system;
  }
  if (!file.messages.empty()) {
    manifest.messages = file.messages;
  }
  if (!file.licenses.empty()) {
    manifest.licenses = file.licenses;
  }
}

}  // namespace

Result<ExitCode> create_command(CommandLine& line) {
  std::string name;
  std::optional<std::string> path, quantize;
  Arguments arguments(line);
  arguments.text("-f,--file", path, "PATH", "the Modelfile (default: Modelfile); - for stdin");
  arguments.text("-q,--quantize", quantize, "TYPE", "not supported yet");
  arguments.positional("MODEL", name);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(name));
  if (quantize) {
    return failure(
        "unsupported", "--quantize",
        fmt::format("quantising (to {}) is not supported by this version of lm", *quantize),
        "take a file that is quantised already: lm search");
  }
  const std::string source = path.value_or("Modelfile");
  LM_TRY(const std::string text, read_text_file(source, kMaxModelfileBytes));
  LM_TRY(const Modelfile file, parse_modelfile(text, source));
  for (const std::string& warning : file.warnings) {
    print_warning(warning);
  }
  if (file.has_template && !file.chat_template.empty()) {
    LM_CHECK(api::compile_template(file.chat_template, source + ": TEMPLATE"));
  }
  LM_TRY(LocalStore store, LocalStore::open(LocalStore::Use::change));
  const fs::path folder = source == "-" ? fs::path(".") : fs::path(source).parent_path();
  LM_TRY(store::Manifest manifest, base_manifest(store, file, folder));
  apply(file, manifest);
  manifest.name = ref.shortest();
  manifest.modified_unix = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  LM_CHECK(store->put(manifest));
  store.clean_up();
  print(fmt::format("created '{}'\n", escape_for_terminal(manifest.name)));
  return ExitCode::ok;
}

}  // namespace lm::cmd
