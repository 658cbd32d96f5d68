/// The store at LM_HOME as a command uses it: what it has to tell is printed, what nobody needs
/// goes.
#pragma once

#include <cstddef>
#include <memory>

#include "cmd/report.h"
#include "store/store.h"

namespace lm::cmd {

/// Prints the store's warnings on stderr, each once: those of opening at once, later ones at the
/// end.
class LocalStore {
 public:
  enum class Use {
    look,    ///< a store that isn't there isn't made; one that is there is healed
    change,  ///< made when it isn't there
  };
  /// A store that can't be written opens in both ways; changing it fails then. Errors: those of
  /// store::Store::open; invalid_argument for a malformed LM_NOPRUNE.
  static Result<LocalStore> open(Use use);
  LocalStore(LocalStore&&) = default;
  LocalStore& operator=(LocalStore&&) = delete;
  ~LocalStore();

  store::Store& operator*() const { return *store_; }
  store::Store* operator->() const { return store_.get(); }

  /// Deletes what crashes and breaks left behind: blobs that no model and no running lm names, a
  /// day after they came, so that a broken pull can still go on from them. Not with LM_NOPRUNE.
  /// Failing is a warning: the command has done its work.
  void clean_up();

 private:
  LocalStore(std::unique_ptr<store::Store> store, bool prune)
      : store_(std::move(store)), prune_(prune) {}
  void print_new_warnings();

  std::unique_ptr<store::Store> store_;  ///< none: moved from
  bool prune_ = true;
  std::size_t printed_ = 0;
};

}  // namespace lm::cmd
