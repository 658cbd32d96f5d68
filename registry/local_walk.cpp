#include "registry/local_walk.h"

#include <algorithm>

#include <fmt/format.h>

#include "store/file_ops.h"

namespace lm::registry {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxEntries = 100'000;

Error wrong(ErrorCode code, const fs::path& path, std::string problem) {
  return {.code = code, .subject = path.string(), .problem = std::move(problem)};
}

bool is_within(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

bool is_hidden(const fs::path& path) {
  return path.filename().native().starts_with('.');
}

}  // namespace

Result<LocalRoot> LocalRoot::open(const fs::path& path) {
  std::error_code error;
  fs::path real = fs::canonical(path, error);
  if (error) {
    return std::unexpected(wrong(ErrorCode::not_found, path, error.message()));
  }
  if (!fs::is_directory(real, error)) {
    return std::unexpected(wrong(ErrorCode::invalid_argument, path, "is no folder"));
  }
  return LocalRoot{.path = std::move(real)};
}

Result<fs::path> LocalRoot::file(const fs::path& name) const {
  std::error_code error;
  fs::path real = fs::canonical(name, error);
  if (error) {
    return std::unexpected(wrong(ErrorCode::not_found, name, error.message()));
  }
  if (!is_within(real, path)) {
    return std::unexpected(wrong(ErrorCode::invalid_argument, name,
                                 fmt::format("the link leads out of {}", path.string())));
  }
  if (!fs::is_regular_file(real, error)) {
    return std::unexpected(wrong(ErrorCode::invalid_argument, name, "is no regular file"));
  }
  return real;
}

Result<std::string> LocalRoot::text(const fs::path& name, std::uint64_t limit_bytes) const {
  LM_TRY(const fs::path real, file(name));
  LM_TRY(const store::Fd fd, store::open_for_reading(real));
  return store::read_text(fd.get(), limit_bytes, name.string());
}

Result<std::vector<WalkedFile>> walk_files(const LocalRoot& root, const fs::path& folder, int depth,
                                           std::vector<LocalRefusal>& refused,
                                           std::string_view wanted) {
  std::vector<WalkedFile> files;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error);
  std::size_t entries = 0;
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    if (++entries > kMaxEntries) {
      return std::unexpected(wrong(ErrorCode::limit_exceeded, folder,
                                   fmt::format("has more than {} entries", kMaxEntries)));
    }
    std::error_code gone;
    const bool is_folder = it->is_directory(gone) && !it->is_symlink(gone);
    if (is_folder && (it.depth() >= depth || is_hidden(it->path()))) {
      it.disable_recursion_pending();
    }
    if (is_folder || is_hidden(it->path())) {
      continue;
    }
    auto real = root.file(it->path());
    if (!real) {
      // Folders behind links are not entered; only what calls itself a model is worth a line.
      if (it->path().native().ends_with(wanted)) {
        refused.push_back({.path = it->path(), .reason = real.error().problem, .is_fault = true});
      }
      continue;
    }
    const std::uint64_t size = fs::file_size(*real, gone);
    files.push_back({.real = std::move(*real),
                     .file = {.path = it->path().lexically_relative(folder).generic_string(),
                              .size_bytes = gone ? 0 : size}});
  }
  if (error) {
    return std::unexpected(wrong(ErrorCode::io, folder, error.message()));
  }
  std::ranges::sort(files, {}, [](const WalkedFile& file) { return file.file.path; });
  return files;
}

Result<std::vector<std::string>> subfolders(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code gone;
    if (it->is_directory(gone) && !it->is_symlink(gone) && !is_hidden(it->path())) {
      names.push_back(it->path().filename().string());
    }
    if (names.size() > kMaxEntries) {
      return std::unexpected(wrong(ErrorCode::limit_exceeded, folder, "has too many folders"));
    }
  }
  if (error) {
    return std::unexpected(wrong(ErrorCode::io, folder, error.message()));
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace lm::registry
