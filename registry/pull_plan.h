/// What a pull is going to fetch: repository, commit, files and the name to store them under.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "registry/catalog.h"
#include "registry/choose_file.h"
#include "registry/hf_cache.h"
#include "registry/hub_client.h"
#include "registry/pull.h"
#include "store/manifest.h"

namespace lm::registry {

/// Where to look for a name: a repository and what to take from it.
struct Candidate {
  std::string repo;
  std::string quant = {};     ///< label or other tag; empty: default order
  std::string file = {};      ///< exact file; empty: by quant
  bool file_is_hint = false;  ///< of the catalogue: when it is gone, the quant decides
};

struct PlannedFile {
  store::LayerKind kind = store::LayerKind::model;
  RepoFile file;
  std::filesystem::path local = {};  ///< offline: where the hub's cache has it
};

struct PullPlan {
  std::string name;  ///< to be stored
  RepoInfo repo;
  std::string label;
  std::string note;                ///< why this file, when several matched
  std::vector<PlannedFile> files;  ///< model parts in order, then the projector
  std::vector<std::string> license_paths;
  std::uint64_t total_bytes = 0;
  std::optional<CachedSnapshot> cached = {};  ///< offline: the snapshot it was made from
};

/// Repositories of the hub to try for `ref`, which names no registry, in order. Errors: not_found
/// (hint: the nearest short names), invalid_name.
Result<std::vector<Candidate>> candidates_for(const Catalog& catalog, const ModelRef& ref,
                                              const PullOptions& options);

/// Asks the hub. Errors: those of HubClient and of the choice; gated before anything is fetched.
Result<PullPlan> plan_repo(HubClient& hub, const ModelRef& ref, const Candidate& candidate,
                           const PullOptions& options);

/// As plan_repo, from what the hub's cache has, without a request. Errors: not_found and those of
/// the choice.
Result<PullPlan> plan_cached(const HfCache& cache, const ModelRef& ref, const Candidate& candidate,
                             const PullOptions& options);

/// Name in the store for a chosen model: a short name as it was typed, else
/// hf.co/user/repo:LABEL-or-tag.
std::string name_to_store(const ModelRef& ref, const PullOptions& options, const std::string& repo,
                          const ModelCandidate& chosen);

}  // namespace lm::registry
