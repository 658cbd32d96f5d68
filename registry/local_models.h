/// Models that other programs keep on this machine: found, checked and described, not yet taken in.
/// Everything in those folders counts as hostile: links that lead out of them, sizes that lie,
/// names that are none are refused with a line each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "registry/error.h"
#include "store/digest.h"
#include "store/manifest.h"

namespace lm::registry {

/// One GGUF file of a model, a regular file that has been seen inside its folder.
struct LocalFile {
  std::filesystem::path path;  ///< links resolved
  store::LayerKind kind = store::LayerKind::model;
  std::string file_name = {};                ///< as the other program calls it
  std::optional<store::Digest> digest = {};  ///< what it claims to be; not yet checked
};

struct LocalModel {
  std::string name;                ///< proposed; a valid model name with its tag
  std::filesystem::path origin;    ///< manifest or first file, for messages
  std::vector<LocalFile> files;    ///< parts in order, then projectors
  store::Manifest additions = {};  ///< all but name and layers: template, parameters, source...
};

/// What was looked at and is no model that can be taken in.
struct LocalRefusal {
  std::filesystem::path path;
  std::string reason;
  bool is_fault = false;  ///< damaged or hostile, rather than of no concern here
};

struct LocalScan {
  std::vector<LocalModel> models;
  std::vector<LocalRefusal> refused;
};

enum class LocalTool { ollama, hf_cache, lmstudio };

/// "ollama", "hf-cache", "lmstudio".
std::optional<LocalTool> local_tool(std::string_view name);
/// The folder of a tool: from its own environment variables, else where it keeps it by default.
/// Error not_found naming the places that were looked at.
Result<std::filesystem::path> local_tool_folder(LocalTool tool);

/// Reads `folder` as that tool's. Errors: not_found, io, limit_exceeded (more than 100,000
/// entries).
Result<LocalScan> scan_local_tool(LocalTool tool, const std::filesystem::path& folder);
/// A .gguf file, the first part of a split one (all parts), or every model in a folder and its
/// subfolders. Errors: not_found, invalid_argument (neither file nor folder), as above.
Result<LocalScan> scan_local_path(const std::filesystem::path& path);

/// A model's name out of a file's: "Tiny-Chat-Q4_K_M.gguf" is "Tiny-Chat:Q4_K_M".
std::string name_of_local_file(const std::filesystem::path& path);

}  // namespace lm::registry
