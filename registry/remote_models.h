/// What models a name stands for on the hub, before anything is fetched.
#pragma once

#include <string>
#include <vector>

#include "registry/catalog.h"
#include "registry/choose_file.h"
#include "registry/hub_client.h"
#include "registry/pull.h"

namespace lm::registry {

struct RemoteModels {
  RepoInfo repo;
  std::vector<ModelCandidate> models;  ///< every quant of the repository, smallest first
  std::string default_label;           ///< the one a pull would take
};

/// The first repository that `ref` may mean and that is there. Errors: those of candidates_for,
/// HubClient and the choice.
Result<RemoteModels> remote_models(HubClient& hub, const Catalog& catalog, const ModelRef& ref,
                                   const PullOptions& options);

}  // namespace lm::registry
