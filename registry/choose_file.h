/// Which files of a repository are a model: classes, shards, labels, tags and the default order of
/// hub-protocol.md 8. The same choice on every machine and for any order of the list.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "registry/model_ref.h"
#include "registry/repo_file.h"

namespace lm::registry {

enum class FileClass {
  model,
  projector,    ///< mmproj
  adapter,      ///< LoRA
  draft,        ///< for speculative decoding
  ignored,      ///< imatrix, small vocabulary files
  unsupported,  ///< split with a tool other than gguf-split
  other,        ///< no GGUF
};

FileClass classify(const RepoFile& file);

/// One model to choose: a file, or all shards of a split one in order.
struct ModelCandidate {
  std::string label;  ///< "Q4_K_M"; may be empty
  std::vector<RepoFile> files = {};
  std::uint64_t size_bytes = 0;

  const std::string& path() const { return files.front().path; }
};

struct Candidates {
  std::vector<ModelCandidate> models;  ///< by path
  std::vector<RepoFile> projectors;
  std::vector<std::string> incomplete;   ///< first paths of split models with shards missing
  std::vector<std::string> unsupported;  ///< paths
};

Candidates find_candidates(const std::vector<RepoFile>& files);

struct Choice {
  ModelCandidate model;
  std::optional<RepoFile> projector = {};
  std::string note = {};  ///< why this one when several matched; empty otherwise
};

/// `tag`: label, file name or label prefix; empty or "latest": the default order. Errors: not_found
/// (hint lists all labels with sizes), ambiguous, unsupported.
Result<Choice> choose_by_tag(const std::vector<RepoFile>& files, std::string_view repo,
                             std::string_view tag);
/// `file`: path in the repository or base name; any shard stands for all. Errors: as above.
Result<Choice> choose_by_file(const std::vector<RepoFile>& files, std::string_view repo,
                              std::string_view file);

}  // namespace lm::registry
