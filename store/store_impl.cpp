#include "store/store_impl.h"

#include <algorithm>
#include <ctime>
#include <set>

#include <fmt/format.h>

#include "store/cleaner.h"
#include "store/names.h"
#include "store/temp_file.h"

namespace lm::store {
namespace {

constexpr std::int64_t kTempAgeSeconds = 24 * 3600;
/// A process that lives for long gets its index back some time after what was wrong is mended.
constexpr std::chrono::minutes kIndexRetryAfter{1};

}  // namespace

bool Store::Impl::is_index_damage(const Error& error) const {
  return error.code == ErrorCode::corrupt && error.subject == index_path().native();
}

// A row of another process counts by itself; one of this process, as long as somebody holds it.
bool Store::Impl::is_alive(const LeaseRow& lease) const {
  if (leases && lease.owner == self) {
    return leases->holds({.digest = lease.digest, .model_key = lease.model_key});
  }
  return lease.expires_unix > std::time(nullptr) && may_be_alive(lease.owner);
}

void Store::Impl::warn(std::string line) {
  if (std::ranges::find(warnings, line) == warnings.end()) {
    warnings.push_back(std::move(line));
  }
}

Result<void> Store::Impl::check_writable() const {
  if (!writable) {
    return std::unexpected(Error{.code = ErrorCode::read_only,
                                 .subject = home.native(),
                                 .problem = "the store can't be changed: it is read-only",
                                 .hint = "set LM_HOME to a folder that can be written"});
  }
  return {};
}

Result<Store::Impl::Session> Store::Impl::begin_read() {
  for (bool healed = false;; healed = true) {
    Session session;
    auto lock = FileLock::acquire(home / kLockName, LockKind::shared, writable);
    if (lock) {
      session.lock = std::move(*lock);
    } else if (writable) {
      return std::unexpected(std::move(lock).error());
    }
    session.guard = std::unique_lock(mutex);
    // After one heal the index is as good as it gets: damaged manifests keep it from ever being in
    // step.
    if (healed) {
      return session;
    }
    LM_TRY(const bool current, is_current());
    if (current) {
      return session;
    }
    if (!writable) {
      LM_CHECK(use_memory());
      return session;
    }
    session.guard.unlock();
    session.lock = FileLock();
    LM_TRY(const Session exclusive, begin_write());
  }
}

Result<Store::Impl::Session> Store::Impl::begin_write() {
  LM_CHECK(check_writable());
  Session session;
  LM_TRY(session.lock, FileLock::acquire(home / kLockName, LockKind::exclusive, true));
  session.guard = std::unique_lock(mutex);
  LM_CHECK(heal());
  return session;
}

// Cheap look under the shared lock: nothing to heal, nothing to bring up to date?
Result<bool> Store::Impl::is_current() {
  using Access = Database::Access;
  if (disk && disk->moved()) {
    disk.reset();
  }
  if (!disk) {
    Access access = Access::read_write;
    if (!writable && others_may_write) {
      access = Access::read_only;
    } else if (!writable) {
      // A log that was never merged can't be read without writing beside it.
      const auto log = file_state(folders.root, std::string(kIndexName) + "-wal");
      if (log && log->size_bytes > 0) {
        return false;
      }
      access = Access::immutable;
    }
    auto opened = open_index(access);
    if (!opened && opened.error().code == ErrorCode::newer_schema) {
      return std::unexpected(std::move(opened).error());
    }
    if (!opened) {
      return false;
    }
    disk = std::move(*opened);
  }
  const auto check = check_step(*disk, folders.manifests);
  if (!check || !check->in_step) {
    return false;
  }
  if (!writable) {
    memory.reset();
    return true;
  }
  const auto rows = disk->leases();
  if (!rows || !std::ranges::all_of(*rows, [this](const LeaseRow& row) {
        // A row that a holder of this process is just giving back is not worth the exclusive lock.
        return row.owner == self || is_alive(row);
      })) {
    return false;
  }
  memory.reset();
  unreadable.clear();
  if (check->better_stamp) {
    // Only saves time; who can't write it does without.
    static_cast<void>(
        disk->casually([&](Index& index) { return index.set_stamp(*check->better_stamp); }));
  }
  return true;
}

Result<void> Store::Impl::heal() {
  const auto try_to_heal = [&]() -> Result<void> {
    LM_CHECK(open_disk_index());
    LM_TRY(unreadable, bring_into_step(*disk, folders.manifests, true));
    LM_CHECK(drop_dead_leases());
    memory.reset();
    return {};
  };
  auto healed = try_to_heal();
  if (!healed && is_index_damage(healed.error())) {
    healed = replace_damaged_index();
    if (healed) {
      healed = try_to_heal();
    }
  }
  // Old files of tmp/ are nobody's: not being able to remove them now is no reason to fail.
  Cleaner cleaner;
  static_cast<void>(clean_temp_files(folders.tmp, kTempAgeSeconds, cleaner));
  if (!healed) {
    if (healed.error().code == ErrorCode::newer_schema) {
      return healed;
    }
    warn(fmt::format("{}: {}; going on without the index", healed.error().subject,
                     healed.error().problem));
    LM_CHECK(bring_memory_into_step());
  }
  for (const Error& error : unreadable) {
    warn(
        fmt::format("{}: {}; the model is not listed, and nothing is cleaned up until it is "
                    "repaired or removed",
                    error.subject, error.problem));
  }
  return {};
}

Result<void> Store::Impl::open_disk_index() {
  if (disk && disk->moved()) {
    disk.reset();
  }
  if (disk) {
    return {};
  }
  auto opened = open_index(Database::Access::create);
  if (!opened && is_index_damage(opened.error())) {
    return replace_damaged_index();
  }
  if (!opened && !open_failure) {
    remember_failure(opened.error());
  }
  LM_TRY(disk, std::move(opened));
  return {};
}

Result<void> Store::Impl::replace_damaged_index() {
  const bool replaced_by_another = disk && disk->moved();
  disk.reset();
  if (!replaced_by_another) {
    const std::string name = kIndexName;
    const std::string kept = fmt::format("{}.corrupt-{}", name, std::time(nullptr));
    std::string target = kept;
    for (int i = 1; file_state(folders.root, target); ++i) {
      target = fmt::format("{}-{}", kept, i);
    }
    // The log first: it must not be applied to the new file.
    for (const char* suffix : {"-wal", "-shm", ""}) {
      if (file_state(folders.root, name + suffix)) {
        LM_CHECK(rename_over(folders.root, name + suffix, folders.root, target + suffix));
      }
    }
    warn(fmt::format(
        "{} was damaged and has been rebuilt from the manifests; the old file is kept as {}",
        index_path().native(), target));
  }
  LM_TRY(disk, Index::open(index_path(), Database::Access::create));
  return {};
}

Result<Index> Store::Impl::open_index(Database::Access access) {
  if (open_failure && std::chrono::steady_clock::now() < open_failure->until) {
    return std::unexpected(open_failure->error);
  }
  open_failure.reset();
  auto opened = Index::open(index_path(), access);
  // These SQLite has tried for long enough; others may pass, and get a second chance.
  if (!opened && opened.error().code == ErrorCode::locked) {
    remember_failure(opened.error());
  }
  return opened;
}

void Store::Impl::remember_failure(const Error& error) {
  open_failure =
      OpenFailure{.error = error, .until = std::chrono::steady_clock::now() + kIndexRetryAfter};
}

Result<void> Store::Impl::drop_dead_leases() {
  LM_TRY(std::vector<LeaseRow> dead, disk->leases());
  std::erase_if(dead, [this](const LeaseRow& row) { return is_alive(row); });
  if (dead.empty()) {
    return {};
  }
  LM_TRY(Transaction transaction, disk->begin());
  for (const LeaseRow& row : dead) {
    LM_CHECK(disk->delete_lease(row));
  }
  return transaction.commit();
}

Result<void> Store::Impl::use_memory() {
  disk.reset();
  return bring_memory_into_step();
}

Result<void> Store::Impl::bring_memory_into_step() {
  if (!memory) {
    LM_TRY(memory, Index::open(index_path(), Database::Access::memory));
  }
  LM_TRY(unreadable, bring_into_step(*memory, folders.manifests, false));
  return {};
}

void Store::Impl::forget_lease(const LeaseKey& key) {
  if (const auto session = begin_read(); session && disk && !leases->holds(key)) {
    // Not durable, and best effort: what stays is dropped by the next change of the store.
    static_cast<void>(disk->casually([&](Index& index) {
      return index.delete_lease({.digest = key.digest, .model_key = key.model_key, .owner = self});
    }));
  }
}

Result<std::set<Digest>> Store::Impl::leased_digests() {
  // This process knows its own also when the index was lost.
  std::set<Digest> digests = leases ? leases->digests() : std::set<Digest>();
  if (disk) {
    LM_TRY(const std::vector<LeaseRow> rows, disk->leases());
    for (const LeaseRow& row : rows) {
      if (is_alive(row)) {
        digests.insert(row.digest);
      }
    }
  }
  return digests;
}

Result<std::vector<Digest>> Store::Impl::only_used_by(const std::string& key) {
  std::vector<Digest> result;
  if (!unreadable.empty()) {
    return result;
  }
  LM_TRY(const std::set<Digest> leased, leased_digests());
  LM_TRY(const std::vector<Digest> digests, models().blobs_of(key));
  for (const Digest& digest : digests) {
    LM_TRY(const bool used, models().is_used(digest, key));
    if (!used && !leased.contains(digest)) {
      result.push_back(digest);
    }
  }
  return result;
}

Result<std::uint64_t> Store::Impl::remove_blobs(const std::vector<Digest>& digests) {
  Cleaner cleaner;
  for (const Digest& digest : digests) {
    LM_CHECK(blobs().remove(digest, cleaner));
  }
  return cleaner.freed_bytes();
}

Result<IndexedModel> Store::Impl::resolve(std::string_view name_or_id) {
  constexpr std::size_t kShortestId = 4;
  const std::string name = with_tag(name_or_id);
  const bool is_id =
      name_or_id.size() >= kShortestId && name_or_id.size() <= 64 &&
      name_or_id.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  LM_CHECK(check_model_name(name));
  const std::string key = manifest_key(name);
  LM_TRY(const std::optional<IndexedModel> named, models().model_by_key(key));
  if (named) {
    return *named;
  }
  if (is_id) {
    LM_TRY(std::vector<IndexedModel> found, models().models_by_id(lower_case(name_or_id)));
    if (found.size() == 1) {
      return std::move(found.front());
    }
    if (found.size() > 1) {
      return std::unexpected(Error{
          .code = ErrorCode::ambiguous,
          .subject = std::string(name_or_id),
          .problem = fmt::format("{} models have an id that begins so", found.size()),
          .hint =
              fmt::format("give more digits, or a name: {}, {}", found[0].name, found[1].name)});
    }
  }
  // A manifest that is there but can't be read says why the model is missing.
  if (folders.manifests) {
    if (auto stored = read_manifest(folders.manifests, key);
        !stored && stored.error().code != ErrorCode::not_found) {
      return std::unexpected(std::move(stored).error());
    }
  }
  LM_TRY(const std::vector<ModelEntry> entries, models().list());
  std::vector<std::string> names;
  for (const ModelEntry& entry : entries) {
    names.push_back(entry.name);
  }
  Error error{.code = ErrorCode::not_found,
              .subject = std::string(name_or_id),
              .problem = "no such model here"};
  const std::vector<std::string> near = near_matches(name, names);
  error.hint = near.empty()
                   ? fmt::format("lm pull {} fetches it, lm list shows what is here", name_or_id)
                   : fmt::format("did you mean {}?", fmt::join(near, ", "));
  return std::unexpected(std::move(error));
}

}  // namespace lm::store
