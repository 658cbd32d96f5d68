/// Leases: what keeps a blob that no manifest names yet from clean-up.
#pragma once

#include <memory>

namespace lm::store {

/// One holder's lease of one blob: while it is held, no gc, rm or put of any thread or process
/// deletes that blob. Copies are the same lease; it ends with the last of them, with
/// `Store::put` of a manifest whose layer carries it, or with the process. Several holders have a
/// lease each, and one that ends leaves the others' standing.
class Lease {
 public:
  Lease() = default;  ///< of nothing
  /// Ends the lease now. What fails in doing so is made up for by the next change of the store.
  void release();

 private:
  friend class Store;
  struct Hold;
  explicit Lease(std::shared_ptr<Hold> hold) : hold_(std::move(hold)) {}
  std::shared_ptr<Hold> hold_;
};

}  // namespace lm::store
