/// Download with progress, shared by `pull` and by `run` of a model that is not here yet.
#pragma once

#include <memory>
#include <string>

#include "cmd/local_store.h"
#include "cmd/report.h"
#include "registry/pull.h"

namespace lm::cmd {

/// How the download is shown.
enum class PullDisplay {
  progress,  ///< lines and bars on stderr
  frames,    ///< one JSON object a line on stdout
  nothing,   ///< warnings only
};

/// Fetches the model `ref` into the store and cleans it up. SIGINT and SIGTERM end it with
/// `interrupted`, the partial kept.
Result<registry::PullResult> pull_with_progress(LocalStore& store, const registry::ModelRef& ref,
                                                const registry::PullOptions& options, bool insecure,
                                                PullDisplay display);

/// What lists show of a model, from the headers of its GGUF parts: the `inspect` of registry::pull.
registry::Result<registry::GgufSummary> inspect_gguf(
    const std::vector<std::filesystem::path>& parts);

}  // namespace lm::cmd
