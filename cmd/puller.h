/// Download with progress, shared by `pull` and by `run` of a model that is not here yet.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

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

/// Frames of POST /api/pull, at most ten a second for one file.
class PullFrames {
 public:
  /// Nothing for events that make none: warnings, and progress too soon after the last.
  std::optional<nlohmann::ordered_json> frame(const registry::PullEvent& event);

 private:
  std::chrono::steady_clock::time_point last_{};
};

/// Whether a parameter that a registry sends with a model is one of ours.
bool takes_parameter(std::string_view name, std::string_view value);

/// What lists show of a model, from the headers of its GGUF parts: the `inspect` of registry::pull.
registry::Result<registry::GgufSummary> inspect_gguf(
    const std::vector<std::filesystem::path>& parts);

}  // namespace lm::cmd
