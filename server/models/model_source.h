/// A model that can be loaded: open files and what is known of it without its weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/fd.h"

namespace lm::server {

struct ModelSource {
  std::string name;  ///< shortest form with tag
  std::string id;    ///< of the manifest: another one is another model
  std::vector<store::Fd> files;
  std::vector<std::string> labels;  ///< [file] for messages
  std::uint64_t weight_bytes = 0;
  std::uint64_t file_bytes = 0;
  store::Fd store_in_use = {};  ///< while it is open the store isn't moved away
};

}  // namespace lm::server
