#include "registry/remote_models.h"

#include <algorithm>
#include <optional>

#include "registry/pull_plan.h"

namespace lm::registry {

Result<RemoteModels> remote_models(HubClient& hub, const Catalog& catalog, const ModelRef& ref,
                                   const PullOptions& options) {
  LM_TRY(const std::vector<Candidate> candidates, candidates_for(catalog, ref, options));
  std::optional<Error> first;
  for (const Candidate& candidate : candidates) {
    auto repo = hub.info(candidate.repo, options.revision.empty() ? "main" : options.revision);
    if (!repo) {
      if (repo.error().code != ErrorCode::not_found) {
        return std::unexpected(std::move(repo).error());
      }
      first = first ? first : std::move(repo).error();
      continue;
    }
    LM_TRY(const std::vector<RepoFile> files, hub.tree(repo->id, repo->commit));
    LM_TRY(const Choice choice, choose_by_tag(files, repo->id, candidate.quant));
    RemoteModels found{.repo = std::move(*repo),
                       .models = find_candidates(files).models,
                       .default_label = choice.model.label};
    std::ranges::stable_sort(found.models, {}, &ModelCandidate::size_bytes);
    return found;
  }
  return std::unexpected(*first);
}

}  // namespace lm::registry
