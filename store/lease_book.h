/// Which leases the threads of this process hold. A row of `leases` stands for all holders of one
/// blob for one model in a process; this counts them, so that the row goes with the last. Private
/// to store/.
#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "store/digest.h"
#include "store/file_ops.h"
#include "store/lease.h"

namespace lm::store {

/// What makes a row of `leases` within one process.
struct LeaseKey {
  Digest digest = {};
  std::string model_key = {};
  friend auto operator<=>(const LeaseKey&, const LeaseKey&) = default;
};

/// Safe to call from any thread; takes no other lock.
class LeaseBook {
 public:
  /// The book of the store whose folder is `root`: every Store of this process that has it open
  /// shares one, whatever path led there. Error: io.
  static Result<std::shared_ptr<LeaseBook>> of_store(const Folder& root);

  void enter(const LeaseKey& key);
  /// One holder less; true when nobody holds `key` any more.
  bool leave(const LeaseKey& key);
  bool holds(const LeaseKey& key) const;
  /// Every blob that somebody here has a lease of.
  std::set<Digest> digests() const;

 private:
  mutable std::mutex mutex_;
  std::map<LeaseKey, std::size_t> holders_;
};

/// One entry in a book, for as long as its lease is held.
struct Lease::Hold {
  std::shared_ptr<LeaseBook> book;
  LeaseKey key;
  std::function<void(const LeaseKey&)> on_last;  ///< drops the row
  std::atomic<bool> entered{true};

  Hold(std::shared_ptr<LeaseBook> its_book, LeaseKey its_key)
      : book(std::move(its_book)), key(std::move(its_key)) {
    book->enter(key);
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  ~Hold() { release(); }

  /// Leaves the book, once; true when that was the last holder. Doesn't touch the row.
  bool leave() { return entered.exchange(false) && book->leave(key); }
  /// Never throws: what can't be done for want of memory is made up for like any other failure.
  void release() noexcept;
};

}  // namespace lm::store
