/// Short names: llama3.1:8b -> a repository and a quant on the hub.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "registry/model_ref.h"

namespace lm::registry {

struct CatalogEntry {
  std::string name;  ///< "llama3.1:8b"; without a tag where the model has only one size
  std::vector<std::string> also = {};  ///< other names of the same entry: "llama3.1"
  std::vector<std::string> repos =
      {};                  ///< "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", then fall-backs
  std::string quant = {};  ///< label, or empty: the default order
  std::string file = {};   ///< exact file, or empty
  std::string license = {};
  double size_gb = 0;
};

class Catalog {
 public:
  /// The embedded table plus `$LM_HOME/aliases.json` (its entries win; a missing file is fine, a
  /// malformed one an error naming file and position).
  static Result<Catalog> load(const std::filesystem::path& lm_home);

  /// Finds "llama3.1:8b", "llama3.1" (its default size), and the peer's long tags such as
  /// "8b-instruct-q4_K_M".
  std::optional<CatalogEntry> find(const ModelRef& ref) const;
  /// The `n` known names nearest to `name`, for messages.
  std::vector<std::string> nearest(std::string_view name, std::size_t n = 3) const;
  const std::vector<CatalogEntry>& entries() const { return entries_; }

 private:
  std::vector<CatalogEntry> entries_;
};

}  // namespace lm::registry
