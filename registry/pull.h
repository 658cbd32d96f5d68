/// `lm pull`: from a name to a model in the store.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "registry/model_ref.h"
#include "registry/settings.h"
#include "store/store.h"

namespace lm::registry {

struct PullOptions {
  std::string quant = {};        ///< --quant: instead of the name's tag
  std::string file = {};         ///< --file: exact file in the repository
  std::string revision = {};     ///< --revision: branch, tag, refs/pr/N or commit; empty: main
  unsigned connections = 0;      ///< 1..16; 0: automatic (starts with 4, at most 8)
  std::uint64_t limit_rate = 0;  ///< bytes a second over all connections; 0: none
  bool dry_run = false;          ///< resolve and report, fetch nothing
  /// An update (update.h): the name to store under, instead of one made from `ref`. What the model
  /// there adds to its files (parameters, system message, ...) stays, unless the source has its
  /// own.
  std::string store_as = {};
  /// `file` may be gone in a later commit; then `quant` decides.
  bool file_is_hint = false;
  /// Whether the engine takes a parameter that a registry sends with a model; those it doesn't are
  /// left out with a warning. Unset: all are taken.
  std::function<bool(std::string_view name, std::string_view value)> takes_parameter = {};
};

/// What happens, as values; cmd/ draws them.
struct PullEvent {
  enum class Kind { status, file_started, progress, warning, done } kind = Kind::status;
  std::string text;  ///< status: "pulling manifest", "verifying sha256 digest", "writing manifest",
                     ///< "success"; warning text
  std::string digest = {};  ///< "sha256:..." of the file
  std::string file_name = {};
  std::uint64_t completed_bytes = 0;  ///< on disk, never falling
  std::uint64_t total_bytes = 0;
};

struct PullResult {
  std::string name;  ///< as stored
  std::string id;
  std::string repo, commit, label;  ///< label: the quant that was chosen
  std::vector<std::string> files;
  std::uint64_t total_bytes = 0;
  std::uint64_t fetched_bytes = 0;  ///< that travelled in this call
  std::uint64_t cached_bytes = 0;   ///< taken from the hub's own cache on this machine
  bool already_current = false;
};

/// Fetches `ref` into the store. Blocks; `sink` is called on the calling thread; `stop` ends it
/// with `interrupted`, the partial kept. Two pulls of one blob (any process) share one download.
/// `inspect` turns the paths of the finished GGUF parts into what the manifest shows (architecture,
/// quantization, parameter count) without registry/ knowing GGUF; an error refuses the model before
/// it is listed.
struct GgufSummary {
  std::string architecture, quantization;
  std::uint64_t parameter_count = 0;
  bool has_chat_template = false;  ///< its own Jinja; wins over a registry's Go template
};
using Inspect = std::function<Result<GgufSummary>(const std::vector<std::filesystem::path>&)>;

Result<PullResult> pull(store::Store& store, const HubSettings& settings, const ModelRef& ref,
                        const PullOptions& options, const Inspect& inspect,
                        const std::function<void(const PullEvent&)>& sink,
                        const std::atomic<bool>& stop);

/// Name under which `ref` is in the store, for commands that take what is there before they pull:
/// the name itself, else its form on the hub, else, when a repository is named without a tag, its
/// model that comes first in the default order. Empty when there is none.
std::optional<std::string> stored_name(const store::Store& store, const ModelRef& ref);

}  // namespace lm::registry
