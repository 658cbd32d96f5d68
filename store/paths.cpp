#include "store/paths.h"

#include <cstdlib>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "store/store.h"

namespace lm::store {
namespace {

// The value without surrounding blanks and quotes; nothing when unset or blank.
std::optional<std::filesystem::path> variable(const char* name) {
  const char* raw = std::getenv(name);
  if (raw == nullptr) {
    return std::nullopt;
  }
  std::string_view value = raw;
  const auto trim = [&value](std::string_view what) {
    const std::size_t first = value.find_first_not_of(what);
    value = first == std::string_view::npos
                ? std::string_view()
                : value.substr(first, value.find_last_not_of(what) - first + 1);
  };
  trim(" \t\r\n");
  trim("\"'");
  if (value.empty()) {
    return std::nullopt;
  }
  return std::filesystem::path(value);
}

Error not_absolute(std::string_view name, const std::filesystem::path& value) {
  return {.code = ErrorCode::invalid_argument,
          .subject = std::string(name),
          .problem = fmt::format("got '{}', expected an absolute path", value.native()),
          .hint = "set LM_HOME to the folder that holds, or is going to hold, the models"};
}

}  // namespace

Result<std::filesystem::path> default_home() {
  if (const auto home = variable("LM_HOME")) {
    if (!home->is_absolute()) {
      return std::unexpected(not_absolute("LM_HOME", *home));
    }
    return home->lexically_normal();
  }
  if (const auto data = variable("XDG_DATA_HOME")) {
    if (!data->is_absolute()) {
      return std::unexpected(not_absolute("XDG_DATA_HOME", *data));
    }
    return (*data / "lm").lexically_normal();
  }
  const auto user = variable("HOME");
  if (!user || !user->is_absolute()) {
    return std::unexpected(not_absolute("HOME", user.value_or("")));
  }
  return (*user / ".local/share/lm").lexically_normal();
}

std::filesystem::path history_path(const std::filesystem::path& home) {
  return home / "history";
}
std::filesystem::path aliases_path(const std::filesystem::path& home) {
  return home / "aliases.json";
}
std::filesystem::path cache_path(const std::filesystem::path& home) {
  return home / "cache";
}

Result<Folders> Folders::open(const std::filesystem::path& home, bool create) {
  Folders folders;
  const auto open_into = [&](Folder& target, const std::filesystem::path& path) -> Result<void> {
    auto opened = open_folder(path, create);
    if (!opened && !create && opened.error().code == ErrorCode::not_found) {
      return {};
    }
    LM_TRY(target, std::move(opened));
    return {};
  };
  LM_CHECK(open_into(folders.root, home));
  LM_CHECK(open_into(folders.blobs, home / "blobs"));
  LM_CHECK(open_into(folders.manifests, home / "manifests"));
  LM_CHECK(open_into(folders.partial, home / "partial"));
  LM_CHECK(open_into(folders.tmp, home / "tmp"));
  // The lock is made last. Without it whoever made these folders may have ended before their names
  // were durable, and what is put into them would be lost with them.
  if (create && !file_state(folders.root, kLockName)) {
    LM_CHECK(sync_folder(folders.root));
    LM_CHECK(sync_way_to(home));
  }
  return folders;
}

}  // namespace lm::store
