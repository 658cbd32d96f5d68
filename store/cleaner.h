/// Deleting what nobody needs, with an account of it. Private to store/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/file_ops.h"
#include "store/store.h"

namespace lm::store {

/// Deletes files and notes them; a dry run only notes.
class Cleaner {
 public:
  explicit Cleaner(bool dry_run = false) : dry_run_(dry_run) {}

  /// Deletes `name`, which frees `bytes`. One that is gone already is no news.
  Result<void> remove(const Folder& folder, const std::string& name, std::uint64_t bytes);

  bool dry_run() const { return dry_run_; }
  const std::vector<PrunedFile>& files() const { return files_; }
  std::uint64_t freed_bytes() const { return freed_bytes_; }

 private:
  bool dry_run_;
  std::vector<PrunedFile> files_;
  std::uint64_t freed_bytes_ = 0;
};

}  // namespace lm::store
