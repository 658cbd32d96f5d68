#include "registry/hf_cache.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "registry/ascii.h"
#include "registry/model_ref.h"

namespace lm::registry {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 10'000;
constexpr std::size_t kMaxRepos = 100'000;
constexpr std::size_t kMaxRefBytes = 100;
constexpr std::string_view kModels = "models--";

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

/// A regular file of that size, links resolved.
bool is_file_of(const fs::path& path, std::uint64_t size_bytes) {
  std::error_code error;
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == size_bytes && !error;
}

std::string first_bytes(const fs::path& path, std::size_t max_bytes) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    return {};
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(max_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

/// A revision that may be part of a path: "main", "refs/pr/1".
bool is_plain_revision(std::string_view revision) {
  return is_safe_path(revision) && revision.size() <= 200;
}

}  // namespace

std::optional<fs::path> HfCache::repo_folder(std::string_view repo) const {
  if (root_.empty() || !check_repo_id(repo)) {
    return std::nullopt;
  }
  std::string name(kModels);
  name += repo;
  name.replace(name.find('/'), 1, "--");
  std::error_code error;
  if (fs::is_directory(root_ / name, error)) {
    return root_ / name;
  }
  std::size_t looked_at = 0;
  for (auto it = fs::directory_iterator(root_, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (equal_ignoring_case(it->path().filename().native(), name)) {
      return it->path();
    }
    if (++looked_at > kMaxRepos) {
      break;
    }
  }
  return std::nullopt;
}

std::optional<fs::path> HfCache::find(std::string_view repo, const store::Digest& digest,
                                      std::uint64_t size_bytes) const {
  const auto in = [&](const fs::path& folder) -> std::optional<fs::path> {
    const fs::path path = folder / "blobs" / digest.hex();
    if (!is_file_of(path, size_bytes)) {
      return std::nullopt;
    }
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    return error ? std::nullopt : std::optional(real);
  };
  if (const auto folder = repo_folder(repo)) {
    if (auto path = in(*folder)) {
      return path;
    }
  }
  if (root_.empty()) {
    return std::nullopt;
  }
  std::error_code error;
  std::size_t looked_at = 0;
  for (auto it = fs::directory_iterator(root_, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (it->path().filename().native().starts_with(kModels)) {
      if (auto path = in(it->path())) {
        return path;
      }
    }
    if (++looked_at > kMaxRepos) {
      break;
    }
  }
  return std::nullopt;
}

Result<CachedSnapshot> HfCache::snapshot(std::string_view repo, std::string_view revision) const {
  const auto absent = [&](std::string problem) {
    return std::unexpected(Error{.code = ErrorCode::not_found,
                                 .subject = std::string(repo),
                                 .problem = std::move(problem),
                                 .hint = "unset LM_OFFLINE to fetch it"});
  };
  const auto folder = repo_folder(repo);
  if (!folder) {
    return absent(fmt::format("it is not in the hub's cache at {}", root_.native()));
  }
  const std::string wanted(revision.empty() ? "main" : revision);
  CachedSnapshot snapshot;
  if (is_commit(wanted)) {
    snapshot.commit = wanted;
  } else if (is_plain_revision(wanted)) {
    const std::string text = first_bytes(*folder / "refs" / wanted, kMaxRefBytes);
    snapshot.commit = std::string(trimmed(text));
  }
  std::error_code error;
  const fs::path root = *folder / "snapshots" / snapshot.commit;
  if (!is_commit(snapshot.commit) || !fs::is_directory(root, error)) {
    return absent(fmt::format("the hub's cache has no revision '{}' of it", wanted.substr(0, 100)));
  }
  snapshot.folder = root;
  // The folder's name has lost which "--" was the slash; the first is, as names can't hold "--".
  snapshot.repo = folder->filename().native().substr(kModels.size());
  const std::size_t slash = snapshot.repo.find("--");
  snapshot.repo.replace(std::min(slash, snapshot.repo.size()), 2, "/");
  for (auto it = fs::recursive_directory_iterator(root, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const fs::path relative = it->path().lexically_relative(root);
    std::error_code ignored;
    if (!fs::is_regular_file(it->path(), ignored) || !is_safe_path(relative.native())) {
      continue;
    }
    RepoFile file{.path = relative.native(), .size_bytes = fs::file_size(it->path(), ignored)};
    const fs::path target = fs::read_symlink(it->path(), ignored);
    if (const auto digest = store::Digest::parse_hex(target.filename().native())) {
      file.digest = *digest;
    }
    snapshot.files.push_back(std::move(file));
    if (snapshot.files.size() >= kMaxFiles) {
      break;
    }
  }
  std::ranges::sort(snapshot.files, {}, &RepoFile::path);
  return snapshot;
}

std::string HfCache::text(const CachedSnapshot& snapshot, std::string_view path,
                          std::size_t max_bytes) {
  if (!is_safe_path(path)) {
    return {};
  }
  std::string text = first_bytes(snapshot.folder / path, max_bytes + 1);
  return text.size() > max_bytes ? std::string() : text;
}

}  // namespace lm::registry
