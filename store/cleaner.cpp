#include "store/cleaner.h"

namespace lm::store {

Result<void> Cleaner::remove(const Folder& folder, const std::string& name, std::uint64_t bytes) {
  bool removed = dry_run_;
  if (!dry_run_) {
    LM_TRY(removed, remove_file(folder, name));
  }
  if (removed) {
    files_.push_back({.path = folder.at(name), .size_bytes = bytes});
    freed_bytes_ += bytes;
  }
  return {};
}

}  // namespace lm::store
