#include "store/lease_book.h"

#include <new>
#include <tuple>

#include <unistd.h>

namespace lm::store {

void Lease::release() {
  if (hold_) {
    hold_->release();
  }
}

void Lease::Hold::release() noexcept {
  try {
    if (leave() && on_last) {
      on_last(key);
    }
  } catch (const std::bad_alloc&) {
  }
}

Result<std::shared_ptr<LeaseBook>> LeaseBook::of_store(const Folder& root) {
  LM_TRY(const FileState state, file_state(root.fd.get(), root.path.native()));
  static std::mutex mutex;
  // The pid is part of the name: a child must not take its parent's leases for its own.
  static std::map<std::tuple<pid_t, std::uint64_t, std::uint64_t>, std::weak_ptr<LeaseBook>> books;
  const std::scoped_lock guard(mutex);
  std::erase_if(books, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<LeaseBook>& known = books[{::getpid(), state.device, state.inode}];
  std::shared_ptr<LeaseBook> book = known.lock();
  if (!book) {
    book = std::make_shared<LeaseBook>();
    known = book;
  }
  return book;
}

void LeaseBook::enter(const LeaseKey& key) {
  const std::scoped_lock guard(mutex_);
  ++holders_[key];
}

bool LeaseBook::leave(const LeaseKey& key) {
  const std::scoped_lock guard(mutex_);
  const auto it = holders_.find(key);
  if (it == holders_.end() || --it->second > 0) {
    return false;
  }
  holders_.erase(it);
  return true;
}

bool LeaseBook::holds(const LeaseKey& key) const {
  const std::scoped_lock guard(mutex_);
  return holders_.contains(key);
}

std::set<Digest> LeaseBook::digests() const {
  const std::scoped_lock guard(mutex_);
  std::set<Digest> digests;
  for (const auto& [key, holders] : holders_) {
    digests.insert(key.digest);
  }
  return digests;
}

}  // namespace lm::store
