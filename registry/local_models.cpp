// Where other programs keep their models, and GGUF files in plain folders, LM Studio's and the
// Hugging Face cache's. Ollama's have a file of their own.
#include "registry/local_models.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "registry/choose_file.h"
#include "registry/local_ollama.h"
#include "registry/local_walk.h"
#include "registry/quant_label.h"

namespace lm::registry {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 6;
constexpr std::uint64_t kRefBytes = 4096;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// A part of a name: what the grammar forbids becomes '-'.
std::string name_part(std::string_view text, std::size_t longest) {
  std::string part;
  for (const char c : text.substr(0, longest)) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
    part += allowed ? c : '-';
  }
  while (!part.empty() && (part.front() == '-' || part.front() == '.')) {
    part.erase(0, 1);
  }
  return part.empty() ? "model" : part;
}

/// Calls what a candidate is to be named with the tag it gets in its folder.
using NameOf = std::function<std::string(const ModelCandidate&, bool label_is_unique)>;

/// Every model among the files of one folder.
void add_models(const std::vector<WalkedFile>& files, const NameOf& name_of,
                const store::Manifest& source, LocalScan& scan) {
  std::vector<RepoFile> listed;
  for (const WalkedFile& file : files) {
    listed.push_back(file.file);
  }
  const auto walked = [&files](const std::string& path) {
    return std::ranges::find(files, path, [](const WalkedFile& file) { return file.file.path; });
  };
  const Candidates found = find_candidates(listed);
  for (const ModelCandidate& candidate : found.models) {
    const auto same = std::ranges::count(found.models, candidate.label, &ModelCandidate::label);
    LocalModel model;
    model.name = name_of(candidate, same == 1 && !candidate.label.empty());
    model.origin = walked(candidate.path())->real;
    model.additions = source;
    model.additions.source_path = source.source_repo.empty() ? "" : candidate.path();
    const auto add = [&](const RepoFile& file, store::LayerKind kind) {
      const auto it = walked(file.path);
      model.files.push_back({.path = it->real,
                             .kind = kind,
                             .file_name = fs::path(file.path).filename().string(),
                             .digest = file.digest});
    };
    for (const RepoFile& part : candidate.files) {
      add(part, store::LayerKind::model);
    }
    if (const auto choice = choose_by_file(listed, "", candidate.path());
        choice && choice->projector) {
      add(*choice->projector, store::LayerKind::projector);
    }
    scan.models.push_back(std::move(model));
  }
  for (const std::string& path : found.incomplete) {
    scan.refused.push_back({.path = walked(path)->real,
                            .reason = "parts of the split model are missing",
                            .is_fault = true});
  }
  for (const std::string& path : found.unsupported) {
    scan.refused.push_back({.path = walked(path)->real,
                            .reason = "it was split by another tool than gguf-split",
                            .is_fault = false});
  }
}

std::string hub_name(const std::string& repo, const ModelCandidate& candidate, bool unique) {
  const std::string tag = unique ? candidate.label : fs::path(candidate.path()).filename().string();
  return fmt::format("hf.co/{}:{}", repo, name_part(tag, 80));
}

/// Files of a folder that isn't the hub's: every file names its model.
Result<LocalScan> scan_plain(const LocalRoot& root, const fs::path& folder, int depth) {
  LocalScan scan;
  LM_TRY(std::vector<WalkedFile> files, walk_files(root, folder, depth, scan.refused));
  // A split model and a projector belong to what lies beside them.
  std::map<fs::path, std::vector<WalkedFile>> by_folder;
  for (WalkedFile& file : files) {
    const fs::path relative = file.file.path;
    file.file.path = relative.filename().string();
    by_folder[relative.parent_path()].push_back(std::move(file));
  }
  for (const auto& [relative, group] : by_folder) {
    add_models(
        group,
        [](const ModelCandidate& candidate, bool) { return name_of_local_file(candidate.path()); },
        {}, scan);
    const bool safetensors = std::ranges::any_of(
        group, [](const WalkedFile& file) { return file.file.path.ends_with(".safetensors"); });
    if (safetensors) {
      scan.refused.push_back(
          {.path = folder / relative, .reason = "holds safetensors, which are not supported"});
    }
  }
  return scan;
}

/// hub/models--<owner>--<repo>/{refs/main,snapshots/<commit>/<file>,blobs/}.
Result<void> scan_cached_repo(const LocalRoot& root, const std::string& name, LocalScan& scan) {
  const fs::path folder = root.path / name;
  const auto refuse = [&](std::string reason, bool is_fault = false) -> Result<void> {
    scan.refused.push_back({.path = folder, .reason = std::move(reason), .is_fault = is_fault});
    return {};
  };
  const std::string rest = name.substr(std::string_view("models--").size());
  const std::size_t dashes = rest.find("--");
  const std::string repo =
      dashes == std::string::npos ? rest : rest.substr(0, dashes) + "/" + rest.substr(dashes + 2);
  if (!check_repo_id(repo)) {
    return refuse("its name is no repository's", true);
  }
  std::error_code ignored;
  if (!fs::is_directory(folder / "snapshots", ignored)) {
    return refuse("nothing of it was downloaded");
  }
  LM_TRY(const std::vector<std::string> snapshots, subfolders(folder / "snapshots"));
  std::string commit;
  if (const auto main = root.text(folder / "refs" / "main", kRefBytes)) {
    commit = main->substr(0, main->find_first_of(" \r\n"));
  }
  if (std::ranges::find(snapshots, commit) == snapshots.end()) {
    if (snapshots.empty()) {
      return refuse("nothing of it was downloaded");
    }
    commit = snapshots.back();
  }
  const std::size_t refused_before = scan.refused.size();
  LM_TRY(std::vector<WalkedFile> files,
         walk_files(root, folder / "snapshots" / commit, kDeepest, scan.refused));
  for (WalkedFile& file : files) {
    // Files of the hub's large-file store are named by their SHA-256.
    if (const auto digest = store::Digest::parse_hex(file.real.filename().string())) {
      file.file.digest = *digest;
    }
  }
  store::Manifest source;
  source.source_repo = repo;
  source.source_commit = commit;
  const std::size_t models_before = scan.models.size();
  add_models(
      files,
      [&repo](const ModelCandidate& candidate, bool unique) {
        return hub_name(repo, candidate, unique);
      },
      source, scan);
  if (scan.models.size() == models_before && scan.refused.size() == refused_before) {
    return refuse("has no GGUF model");
  }
  return {};
}

Result<LocalScan> scan_hf_cache(const LocalRoot& root) {
  LocalScan scan;
  LM_TRY(const std::vector<std::string> names, subfolders(root.path));
  for (const std::string& name : names) {
    if (name.starts_with("models--")) {
      LM_CHECK(scan_cached_repo(root, name, scan));
    }
  }
  return scan;
}

/// <publisher>/<repo>/<file>.gguf, as the hub names them; what lies elsewhere by its file's name.
Result<LocalScan> scan_lmstudio(const LocalRoot& root) {
  LocalScan scan;
  LM_TRY(const std::vector<std::string> publishers, subfolders(root.path));
  for (const std::string& publisher : publishers) {
    LM_TRY(const std::vector<std::string> repos, subfolders(root.path / publisher));
    for (const std::string& folder : repos) {
      const std::string repo = publisher + "/" + folder;
      if (!check_repo_id(repo)) {
        LM_TRY(const LocalScan plain, scan_plain(root, root.path / repo, kDeepest));
        scan.models.insert(scan.models.end(), plain.models.begin(), plain.models.end());
        scan.refused.insert(scan.refused.end(), plain.refused.begin(), plain.refused.end());
        continue;
      }
      const std::size_t before = scan.models.size() + scan.refused.size();
      LM_TRY(const std::vector<WalkedFile> files,
             walk_files(root, root.path / repo, kDeepest, scan.refused));
      add_models(
          files,
          [&repo](const ModelCandidate& candidate, bool unique) {
            return hub_name(repo, candidate, unique);
          },
          {}, scan);
      if (scan.models.size() + scan.refused.size() == before) {
        scan.refused.push_back({.path = root.path / repo, .reason = "has no GGUF model"});
      }
    }
  }
  return scan;
}

}  // namespace

std::string name_of_local_file(const fs::path& path) {
  std::string stem = path.filename().string();
  if (stem.size() > 5 && path.extension() == ".gguf") {
    stem.resize(stem.size() - 5);
  }
  // "-00001-of-00003"
  constexpr std::size_t kShard = 15;
  if (stem.size() > kShard && stem.substr(stem.size() - kShard + 6, 4) == "-of-") {
    stem.resize(stem.size() - kShard);
  }
  const std::string label = label_of_file(path.filename().string());
  if (!label.empty() && stem.size() > label.size() + 1) {
    std::string tail = stem.substr(stem.size() - label.size());
    std::ranges::transform(tail, tail.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    });
    const char before = stem[stem.size() - label.size() - 1];
    if (tail == label && (before == '-' || before == '.' || before == '_')) {
      return fmt::format("{}:{}", name_part(stem.substr(0, stem.size() - label.size() - 1), 80),
                         label);
    }
  }
  return name_part(stem, 80) + ":latest";
}

std::optional<LocalTool> local_tool(std::string_view name) {
  if (name == "ollama") {
    return LocalTool::ollama;
  }
  if (name == "hf-cache") {
    return LocalTool::hf_cache;
  }
  return name == "lmstudio" ? std::optional(LocalTool::lmstudio) : std::nullopt;
}

Result<fs::path> local_tool_folder(LocalTool tool) {
  const std::string home = variable("HOME");
  std::vector<fs::path> places;
  const auto add = [&places](const std::string& base, const char* below) {
    if (!base.empty()) {
      places.push_back(fs::path(base) / below);
    }
  };
  std::string hint;
  switch (tool) {
    case LocalTool::ollama:
      add(variable("OLLAMA_MODELS"), "");
      add(home, ".ollama/models");
      add("/usr/share/ollama", ".ollama/models");
      hint = "set OLLAMA_MODELS to its folder";
      break;
    case LocalTool::hf_cache:
      add(variable("HF_HUB_CACHE"), "");
      add(variable("HUGGINGFACE_HUB_CACHE"), "");
      add(variable("HF_HOME"), "hub");
      add(variable("XDG_CACHE_HOME"), "huggingface/hub");
      add(home, ".cache/huggingface/hub");
      hint = "set HF_HUB_CACHE to it";
      break;
    case LocalTool::lmstudio:
      add(home, ".lmstudio/models");
      add(home, ".cache/lm-studio/models");
      hint = "name its folder: lm import FOLDER";
      break;
  }
  for (const fs::path& place : places) {
    std::error_code error;
    if (fs::is_directory(place, error)) {
      return place;
    }
  }
  std::vector<std::string> names;
  for (const fs::path& place : places) {
    names.push_back(place.string());
  }
  return std::unexpected(
      Error{.code = ErrorCode::not_found,
            .subject = "--from",
            .problem = fmt::format("there is no folder of it: {}", fmt::join(names, ", ")),
            .hint = std::move(hint)});
}

Result<LocalScan> scan_local_tool(LocalTool tool, const fs::path& folder) {
  LM_TRY(const LocalRoot root, LocalRoot::open(folder));
  switch (tool) {
    case LocalTool::ollama:
      return scan_ollama(root);
    case LocalTool::hf_cache:
      return scan_hf_cache(root);
    case LocalTool::lmstudio:
      break;
  }
  return scan_lmstudio(root);
}

Result<LocalScan> scan_local_path(const fs::path& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) {
    return std::unexpected(Error{.code = ErrorCode::not_found,
                                 .subject = path.string(),
                                 .problem = error.message(),
                                 .hint = "name a .gguf file or a folder of them"});
  }
  if (fs::is_directory(real, error)) {
    LM_TRY(const LocalRoot root, LocalRoot::open(real));
    return scan_plain(root, root.path, kDeepest);
  }
  if (!fs::is_regular_file(real, error)) {
    return std::unexpected(Error{.code = ErrorCode::invalid_argument,
                                 .subject = path.string(),
                                 .problem = "is neither a file nor a folder",
                                 .hint = "name a .gguf file or a folder of them"});
  }
  // The user named this one file, so where a link leads is the user's wish. Other parts of a split
  // set lie beside the name that was given.
  LocalScan scan;
  const fs::path absolute = fs::absolute(path, error);
  const LocalRoot beside{.path = fs::canonical(absolute.parent_path(), error)};
  std::vector<LocalRefusal> ignored;
  if (auto files = walk_files(beside, beside.path, 0, ignored)) {
    add_models(
        *files,
        [](const ModelCandidate& candidate, bool) { return name_of_local_file(candidate.path()); },
        {}, scan);
    const std::string name = absolute.filename().string();
    std::erase_if(scan.models, [&](const LocalModel& model) {
      return model.files.size() == 1 ||
             std::ranges::find(model.files, name, &LocalFile::file_name) == model.files.end();
    });
    if (!scan.models.empty()) {
      scan.refused.clear();
      return scan;
    }
    std::erase_if(scan.refused, [&](const LocalRefusal& refusal) { return refusal.path != real; });
    if (!scan.refused.empty()) {
      return scan;
    }
  }
  scan = {};
  scan.models.push_back({.name = name_of_local_file(absolute),
                         .origin = real,
                         .files = {{.path = real, .file_name = absolute.filename().string()}}});
  return scan;
}

}  // namespace lm::registry
