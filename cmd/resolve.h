/// From an argument to a model: a file on disk, a stored model by name or id, or one to be pulled.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cmd/report.h"
#include "registry/model_ref.h"
#include "runtime/gguf/gguf_file.h"
#include "store/store.h"

namespace lm::cmd {

/// A model whose header has been read. Files stay open for as long as it lives, also after `lm rm`.
struct ResolvedModel {
  std::string name;  ///< stored name, or the path as given
  GgufFile file;
  std::optional<store::Manifest> manifest;  ///< none for a path
  std::string id;                           ///< of a stored model
  std::vector<std::filesystem::path> paths;
  store::Fd store_in_use = {};  ///< of a stored model: keeps the store from being moved away
};

struct ResolveOptions {
  bool for_running = false;  ///< the store notes that the model was used
  bool pull_when_absent = false;
  bool insecure = false;
};

/// Errors: invalid_name (usage), not_found (hint how to get it), those of the GGUF reader and of a
/// pull.
Result<ResolvedModel> resolve_model(const std::string& argument,
                                    const ResolveOptions& options = {});

/// The header of a stored model that the store has opened. Errors: corrupt, those of the GGUF
/// reader.
Result<ResolvedModel> open_stored(store::OpenModel opened);

/// Spellings under which one stored model may be known, in the order to try: the argument itself
/// when it can be an id, its shortest form, the hub's form of "user/repo". A repository without a
/// tag is its quant only when just one is here. Errors: invalid_name.
Result<std::vector<std::string>> stored_spellings(const store::Store& store,
                                                  const std::string& argument);

/// The manifest of a stored model by name or id; of several quants of a repository the one that a
/// pull would take first. Errors: invalid_name, not_found, ambiguous.
Result<store::Manifest> find_stored(const store::Store& store, const std::string& argument);

}  // namespace lm::cmd
