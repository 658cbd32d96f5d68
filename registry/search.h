/// Looks for models on the hub.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "registry/hub_client.h"

namespace lm::registry {

struct FoundModel {
  std::string repo;  ///< "user/repo", checked
  std::uint64_t downloads = 0;
  std::uint64_t likes = 0;
  std::string modified = {};  ///< day of the last change, "2026-11-21"; may be empty
  bool gated = false;
};

constexpr unsigned kMaxSearchResults = 100;

/// Repositories with GGUF files that match `term`, most downloaded first; at most `limit` (1 to
/// kMaxSearchResults). Entries without a well-formed name are left out. Errors: invalid_argument,
/// protocol, those of HubClient.
Result<std::vector<FoundModel>> search_hub(HubClient& hub, std::string_view term, unsigned limit);

}  // namespace lm::registry
