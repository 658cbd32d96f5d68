#include "cmd/local_store.h"

#include <chrono>
#include <new>

#include "cmd/settings.h"

namespace lm::cmd {

Result<LocalStore> LocalStore::open(Use use) {
  using Mode = store::Store::Mode;
  LM_TRY(const bool no_prune, setting_flag("LM_NOPRUNE"));
  LM_TRY(std::filesystem::path home, store::default_home());
  std::error_code ignored;
  const bool make = use == Use::change || std::filesystem::exists(home, ignored);
  LM_TRY(store::Store store,
         store::Store::open(std::move(home), make ? Mode::read_write : Mode::read_only));
  LocalStore opened(std::make_unique<store::Store>(std::move(store)), !no_prune);
  opened.print_new_warnings();
  return opened;
}

LocalStore::~LocalStore() {
  try {
    if (store_) {
      print_new_warnings();
    }
  } catch (const std::bad_alloc&) {
    // A destructor may not throw, and who runs out of memory hears of that soon enough.
  }
}

void LocalStore::print_new_warnings() {
  const std::vector<std::string> warnings = store_->warnings();
  for (; printed_ < warnings.size(); ++printed_) {
    print_warning(warnings[printed_]);
  }
}

void LocalStore::clean_up() {
  if (!prune_) {
    return;
  }
  const auto freed = store_->collect_garbage(std::chrono::hours(24));
  // Of manifests that can't be read, the store's own warnings tell.
  if (!freed && freed.error().code != store::ErrorCode::corrupt) {
    print_warning(Failure(freed.error()).text());
  }
}

}  // namespace lm::cmd
