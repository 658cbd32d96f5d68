/// Ollama's own folder: manifests/<host>/<namespace>/<model>/<tag> and blobs/sha256-<hex>.
#pragma once

#include "registry/local_walk.h"

namespace lm::registry {

/// Errors: io, limit_exceeded; a model that can't be taken is a refusal, not an error.
Result<LocalScan> scan_ollama(const LocalRoot& root);

}  // namespace lm::registry
