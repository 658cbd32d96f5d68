/// Who has a store open. Every Store, and every model that was opened through one, holds a shared
/// flock of the store's folder; moving the store needs it alone. Private to store/.
#pragma once

#include "store/file_ops.h"

namespace lm::store {

/// Joins those who use the store, for as long as a descriptor of `root` or a copy of it is open.
/// Where the file system knows no such locks, nothing happens. Error locked: it is being moved.
Result<void> begin_use(const Folder& root);

/// Another descriptor of `root`: as long as it is open, the store is in use. Error io.
Result<Fd> share_use(const Folder& root);

/// While this lives nobody else uses the store, nor begins to; afterwards `root` is one user again.
class SoleUse {
 public:
  /// Error locked: somebody else uses it.
  static Result<SoleUse> of(const Folder& root);
  SoleUse(SoleUse&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  SoleUse& operator=(SoleUse&&) = delete;
  ~SoleUse();

 private:
  explicit SoleUse(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace lm::store
