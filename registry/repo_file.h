/// A file of a repository, as the hub's tree lists it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/digest.h"

namespace lm::registry {

struct RepoFile {
  std::string path;  ///< relative, '/' between folders; checked by is_safe_path
  std::uint64_t size_bytes = 0;
  std::optional<store::Digest> digest = {};  ///< lfs.oid; empty for small files kept in git itself
};

/// False for absolute paths, "..", backslashes, drive letters, control bytes and names Windows
/// reserves: a path of the hub is a label here, but labels get printed and copied.
bool is_safe_path(std::string_view path);

}  // namespace lm::registry
