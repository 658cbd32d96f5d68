/// Where a stored model came from, as something that can be pulled again.
#pragma once

#include <optional>

#include "registry/pull.h"
#include "store/manifest.h"

namespace lm::registry {

struct Origin {
  ModelRef ref;
  PullOptions options;  ///< stores under the model's name; file and revision of the first pull
  /// Its revision is a commit: nothing newer can be asked for.
  bool pinned = false;
};

/// The origin of a pulled model; empty for models that were made here.
std::optional<Origin> origin_of(const store::Manifest& manifest);

}  // namespace lm::registry
