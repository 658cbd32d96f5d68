// The whole store into another folder: Store::move_to. Step order: README.md of this folder.
#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <unistd.h>

#include "store/in_use.h"
#include "store/partials.h"
#include "store/sha256.h"
#include "store/store_impl.h"
#include "store/temp_file.h"

namespace lm::store {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kBlock = 1 << 20;
constexpr std::uint64_t kMarkerLimit = 64 << 10;

// In the old store, once the new one has everything.
Result<void> note_where_it_went(const Folders& folders, const fs::path& to) {
  LM_TRY(TempFile file, TempFile::create(folders.tmp));
  LM_CHECK(file.write(to.native()));
  LM_CHECK(sync_file(file.fd(), file.subject()));
  LM_CHECK(file.publish_over(folders.root, kMovedToName));
  return sync_folder(folders.root);
}

// The first thing in a new store, before its folders: a folder with nothing but this, whole or not,
// is one that a broken move has begun.
Result<void> begin_new_store(const fs::path& to, const fs::path& home) {
  LM_TRY(const Folder root, open_folder(to, true));
  const fs::path marker = root.at(kMovingFromName);
  LM_TRY(const Fd file, open_or_create(marker));
  LM_CHECK(set_length(file.get(), 0, false, marker.native()));
  LM_CHECK(write_at(file.get(), std::as_bytes(std::span(home.native())), 0, marker.native()));
  LM_CHECK(sync_file(file.get(), marker.native()));
  LM_CHECK(sync_folder(root));
  LM_TRY(const Folder parent, open_folder(to.parent_path(), false));
  return sync_folder(parent);
}

// Is one folder the other, or below it?
bool is_within(const fs::path& inner, const fs::path& outer) {
  const auto [a, b] = std::ranges::mismatch(outer, inner);
  return a == outer.end();
}

// Regular files of a folder and of those in it, relative to it; none when there is no such folder.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code failed;
  for (fs::recursive_directory_iterator it(folder, failed), end; !failed && it != end;
       it.increment(failed)) {
    std::error_code gone;
    if (it->is_regular_file(gone) && !it->is_symlink(gone)) {
      files.push_back(it->path().lexically_relative(folder));
    }
  }
  return files;
}

/// Copies file after file into the new store, each through tmp/ and one rename.
class Copier {
 public:
  Copier(const Folders& from, const Folders& to, std::uint64_t total, const Progress& progress)
      : from_(from), to_(to), total_(total), progress_(progress) {}

  Result<void> run() {
    // What an earlier try brought is still right when its name is its digest; the rest may have
    // changed since.
    LM_CHECK(empty(to_.manifests));
    LM_CHECK(empty(to_.partial));
    LM_CHECK(empty(to_.tmp));
    LM_TRY(std::vector<std::string> names, folder_names(from_.blobs));
    std::ranges::sort(names, std::greater{});  // what belongs to a blob before the blob
    for (const std::string& name : names) {
      const std::optional<BlobFile> blob = BlobFile::parse(name);
      if (!blob) {
        continue;  // not ours
      }
      LM_CHECK(copy(from_.blobs, to_.blobs, name, blob->suffix.empty() ? &blob->digest : nullptr));
    }
    LM_CHECK(sync_folder(to_.blobs));
    LM_CHECK(copy_all(from_.partial, to_.partial));
    for (const char* name : {"aliases.json", "history", kIndexName}) {
      if (file_state(from_.root, name)) {
        LM_CHECK(copy(from_.root, to_.root, name, nullptr));
      }
    }
    LM_CHECK(sync_folder(to_.root));
    LM_CHECK(copy_cache());
    return copy_all(from_.manifests, to_.manifests);
  }

  std::uint64_t copied_bytes() const { return done_; }

 private:
  static Result<void> empty(const Folder& folder) {
    LM_TRY(const std::vector<std::string> names, folder_names(folder));
    for (const std::string& name : names) {
      LM_CHECK(remove_file(folder, name));
    }
    return {};
  }

  Result<void> copy_all(const Folder& from, const Folder& to) {
    LM_TRY(const std::vector<std::string> names, folder_names(from));
    for (const std::string& name : names) {
      const auto state = file_state(from, name);
      if (state && state->regular) {
        LM_CHECK(copy(from, to, name, nullptr));
      }
    }
    return sync_folder(to);
  }

  // It only saves time, but a lot of it. Its folders need not be durable.
  Result<void> copy_cache() {
    for (const fs::path& file : files_below(cache_path(from_.root.path))) {
      const fs::path folder = cache_path(".") / file.parent_path();
      LM_TRY(const Folder source, open_folder(from_.root.path / folder, false));
      LM_TRY(const Folder target, open_folder(to_.root.path / folder, true));
      LM_CHECK(copy(source, target, file.filename(), nullptr));
    }
    return {};
  }

  Result<void> copy(const Folder& from, const Folder& to, const std::string& name,
                    const Digest* wanted) {
    LM_TRY(const Fd source, open_for_reading(from, name));
    const std::string subject = from.at(name).native();
    LM_TRY(const FileState state, file_state(source.get(), subject));
    if (const auto there = file_state(to, name);
        wanted != nullptr && there && there->size_bytes == state.size_bytes) {
      done_ += state.size_bytes;
      return report_progress(progress_, done_, total_, subject);
    }
    LM_TRY(TempFile file, TempFile::create(to_.tmp));
    LM_CHECK(set_length(file.fd(), state.size_bytes, true, file.subject()));
    std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlock, state.size_bytes)));
    Sha256 hasher;
    for (std::uint64_t at = 0; at < state.size_bytes;) {
      const std::span part =
          std::span(block).first(static_cast<std::size_t>(std::min(kBlock, state.size_bytes - at)));
      LM_CHECK(read_exact(source.get(), part, at, subject));
      if (wanted != nullptr) {
        hasher.update(part);
      }
      LM_CHECK(write_at(file.fd(), part, at, file.subject()));
      at += part.size();
      done_ += part.size();
      LM_CHECK(report_progress(progress_, done_, total_, subject));
    }
    if (wanted != nullptr) {
      if (const Digest got = hasher.finish(); got != *wanted) {
        return std::unexpected(Error{.code = ErrorCode::digest_mismatch,
                                     .subject = subject,
                                     .problem = fmt::format("its SHA-256 is {}", got.hex()),
                                     .hint = "nothing was moved; run: lm verify"});
      }
      LM_CHECK(set_mode(file.fd(), kBlobMode, file.subject()));
    }
    LM_CHECK(sync_file(file.fd(), file.subject()));
    return file.publish_over(to, name);
  }

  const Folders& from_;
  const Folders& to_;
  std::uint64_t total_;
  const Progress& progress_;
  std::uint64_t done_ = 0;
};

// Bytes of the regular files of some folders, for the progress.
std::uint64_t bytes_in(std::initializer_list<const Folder*> folders) {
  std::uint64_t bytes = 0;
  for (const Folder* folder : folders) {
    for (const std::string& name : folder_names(*folder).value_or(std::vector<std::string>())) {
      const auto state = file_state(*folder, name);
      bytes += state && state->regular ? state->size_bytes : 0;
    }
  }
  return bytes;
}

// The old store goes, manifests first: what is left of it never lists a model without its bytes.
// The marker that says where it went is the last file.
Result<void> remove_old(const Folders& folders, const fs::path& home) {
  for (const Folder* folder :
       {&folders.manifests, &folders.blobs, &folders.partial, &folders.tmp}) {
    LM_TRY(const std::vector<std::string> names, folder_names(*folder));
    for (const std::string& name : names) {
      LM_CHECK(remove_file(*folder, name));
    }
    LM_CHECK(sync_folder(*folder));
  }
  std::error_code failed;
  fs::remove_all(cache_path(home), failed);
  if (failed) {
    return std::unexpected(errno_error(cache_path(home).native(), "remove", failed.value()));
  }
  LM_TRY(const std::vector<std::string> names, folder_names(folders.root));
  for (const std::string& name : names) {
    if (name.starts_with(kIndexName) || name == "aliases.json" || name == "history") {
      LM_CHECK(remove_file(folders.root, name));
    }
  }
  for (const char* name : {"manifests", "blobs", "partial", "tmp"}) {
    LM_CHECK(remove_folder(home / name));
  }
  LM_CHECK(remove_file(folders.root, kLockName));
  LM_CHECK(remove_file(folders.root, kMovedToName));
  // Files of others may be left in it.
  static_cast<void>(remove_folder(home));
  return {};
}

Error in_use(const fs::path& home, std::string problem) {
  return {.code = ErrorCode::locked,
          .subject = home.native(),
          .problem = std::move(problem),
          .hint = "wait until every other lm has ended and try again"};
}

}  // namespace

Result<std::optional<fs::path>> read_marker(const Folder& root, const char* name) {
  if (!root) {
    return std::nullopt;
  }
  const auto fd = open_for_reading(root, name);
  if (!fd && fd.error().code == ErrorCode::not_found) {
    return std::nullopt;
  }
  if (!fd) {
    return std::unexpected(fd.error());
  }
  LM_TRY(const std::string text, read_text(fd->get(), kMarkerLimit, root.at(name).native()));
  return fs::path(text);
}

// Whoever uses the store holds a lease, or the lock of an unfinished download.
Result<std::vector<Fd>> Store::Impl::check_unused() {
  if (!disk) {
    return std::unexpected(in_use(home, "the leases can't be read"));
  }
  LM_TRY(const std::set<Digest> leased, leased_digests());
  if (!leased.empty()) {
    return std::unexpected(
        in_use(home, fmt::format("another lm uses {} of its files", leased.size())));
  }
  std::vector<Fd> held;
  LM_TRY(const std::vector<std::string> names, folder_names(folders.partial));
  for (const std::string& name : names) {
    if (name.ends_with(kPartSuffix)) {
      LM_TRY(std::optional<Fd> part, lock_partial(folders.partial.at(name), false));
      if (!part) {
        return std::unexpected(in_use(home, "another lm fetches a model"));
      }
      held.push_back(std::move(*part));
    }
  }
  return held;
}

Result<MoveReport> Store::move_to(const fs::path& target, const MoveOptions& options) {
  LM_CHECK(impl_->check_writable());
  std::error_code failed;
  const fs::path home = fs::canonical(impl_->home, failed);
  const fs::path to = fs::weakly_canonical(fs::absolute(target, failed), failed);
  if (failed || home.empty() || to.empty() || is_within(to, home) || is_within(home, to)) {
    return std::unexpected(Error{
        .code = ErrorCode::invalid_argument,
        .subject = target.native(),
        .problem =
            failed ? failed.message()
                   : fmt::format("is the store {} itself, inside it or around it", home.native()),
        .hint = "name another folder, one that is missing or empty"});
  }
  LM_TRY(const Impl::Session session, impl_->begin_write());
  LM_TRY(const SoleUse alone, SoleUse::of(impl_->folders.root));
  LM_TRY(const std::vector<Fd> held, impl_->check_unused());
  MoveReport report{.target = to};

  // Broken off after the switch: only the old files are left to remove.
  LM_TRY(const std::optional<fs::path> moved_to, read_marker(impl_->folders.root, kMovedToName));
  std::vector<std::string> present;
  std::optional<fs::path> from;
  if (auto folder = open_folder(to, false)) {
    LM_TRY(present, folder_names(*folder));
    LM_TRY(from, read_marker(*folder, kMovingFromName));
  }
  const bool goes_on = from && (*from == home || present.size() == 1);
  const bool only_clean = moved_to && *moved_to == to && !present.empty() && !from;
  if (!present.empty() && !goes_on && !only_clean) {
    return std::unexpected(Error{.code = ErrorCode::already_exists,
                                 .subject = to.native(),
                                 .problem = "the folder is not empty",
                                 .hint = "name one that is missing or empty"});
  }
  // The database is closed before it is copied or renamed.
  const auto close_index = [&] {
    impl_->disk.reset();
    impl_->memory.reset();
  };
  if (!only_clean && !goes_on && options.may_rename) {
    LM_TRY(const Folder parent, open_folder(to.parent_path(), true));
    const std::uint64_t bytes = bytes_in({&impl_->folders.blobs, &impl_->folders.partial});
    close_index();
    const auto renamed = rename_folder(home, to);
    if (renamed) {
      LM_CHECK(sync_folder(parent));
      LM_TRY(const Folder old_parent, open_folder(home.parent_path(), false));
      LM_CHECK(sync_folder(old_parent));
      report.moved_bytes = bytes;
      report.renamed = true;
      return report;
    }
    if (renamed.error().os_error != EXDEV && renamed.error().os_error != EBUSY &&
        renamed.error().os_error != EACCES && renamed.error().os_error != EPERM) {
      return std::unexpected(renamed.error());
    }
  }
  if (!only_clean) {
    LM_CHECK(begin_new_store(to, home));
    LM_TRY(const Folders folders, Folders::open(to, true));
    LM_CHECK(sync_folder(folders.root));
    close_index();
    const Folders& old = impl_->folders;
    std::uint64_t total = bytes_in({&old.blobs, &old.partial, &old.manifests, &old.root});
    for (const fs::path& file : files_below(cache_path(home))) {
      std::error_code gone;
      const std::uintmax_t size = fs::file_size(cache_path(home) / file, gone);
      total += gone ? 0 : size;
    }
    Copier copier(old, folders, total, options.progress);
    LM_CHECK(copier.run());
    report.moved_bytes = copier.copied_bytes();
    LM_CHECK(note_where_it_went(impl_->folders, to));
    LM_CHECK(remove_file(folders.root, kMovingFromName));
    LM_CHECK(sync_folder(folders.root));  // the switch
  }
  close_index();
  LM_CHECK(remove_old(impl_->folders, home));
  return report;
}

}  // namespace lm::store
