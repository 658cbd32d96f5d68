/// Headers of models on the hub: what the planner needs, without their weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cmd/report.h"
#include "registry/model_ref.h"
#include "runtime/gguf/gguf_file.h"

namespace lm::cmd {

struct RemoteHeader {
  std::string quant;
  std::unique_ptr<GgufFile> file;
};

struct RemoteHeaders {
  std::string repo;
  std::string default_quant;
  std::vector<RemoteHeader> quants;   ///< smallest first
  std::vector<std::string> warnings;  ///< quants whose header can't be used, and why
  std::uint64_t fetched_bytes = 0;
};

/// Every quant of the repository that `ref` means. After one whole header the others cost what
/// differs from it. Errors: those of the hub; unsupported_arch and the like when no quant can be
/// read.
Result<RemoteHeaders> fetch_headers(const registry::ModelRef& ref);

}  // namespace lm::cmd
