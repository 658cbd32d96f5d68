#include "store/in_use.h"

#include <cerrno>

#include <fcntl.h>

#include "store/lock.h"

namespace lm::store {

Result<void> begin_use(const Folder& root) {
  const auto joined = lock_descriptor(root.fd.get(), LockKind::shared, false, root.path.native());
  if (joined && !*joined) {
    return std::unexpected(
        Error{.code = ErrorCode::locked,
              .subject = root.path.native(),
              .problem = "another lm is moving the store to another folder",
              .hint = "wait until it has ended, then set LM_HOME to that folder"});
  }
  return {};
}

Result<Fd> share_use(const Folder& root) {
  Fd copy(::fcntl(root.fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) {
    return std::unexpected(errno_error(root.path.native(), "fcntl", errno));
  }
  return copy;
}

Result<SoleUse> SoleUse::of(const Folder& root) {
  // On the way from shared to exclusive the kernel may let go of the lock: refused, it is taken
  // anew by the destructor.
  SoleUse use(root.fd.get());
  const auto alone = lock_descriptor(root.fd.get(), LockKind::exclusive, false, root.path.native());
  if (alone && !*alone) {
    return std::unexpected(
        Error{.code = ErrorCode::locked,
              .subject = root.path.native(),
              .problem = "another lm uses the store: a chat, a server or a command",
              .hint = "end every other lm and try again"});
  }
  return use;
}

SoleUse::~SoleUse() {
  if (fd_ >= 0) {
    static_cast<void>(lock_descriptor(fd_, LockKind::shared, false, ""));
  }
}

}  // namespace lm::store
