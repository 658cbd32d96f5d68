// What nobody needs any more: collect_garbage, prune_partials, prune.
#include <set>

#include "store/cleaner.h"
#include "store/partials.h"
#include "store/store_impl.h"
#include "store/temp_file.h"

namespace lm::store {
namespace {

// Every digest that some manifest names, read from the manifests themselves: the index may be
// wrong, they may not.
Result<std::set<Digest>> reachable_digests(const Folder& manifests) {
  LM_TRY(const std::vector<std::string> keys, manifest_keys(manifests));
  std::set<Digest> digests;
  for (const std::string& key : keys) {
    auto stored = read_manifest(manifests, key);
    if (!stored) {
      Error error = std::move(stored).error();
      error.problem = "nothing was cleaned up, because a manifest can't be read: " + error.problem;
      error.hint = "repair or remove the file, then run: lm prune";
      return std::unexpected(std::move(error));
    }
    for (const Layer& layer : stored->manifest.layers) {
      digests.insert(layer.digest);
    }
  }
  return digests;
}

// Under the lock of a session. What isn't named like ours isn't ours to delete. Checksums go with
// their blob, or when they have none.
Result<void> clean_blobs(const BlobStore& blobs, const Folder& folder,
                         const std::set<Digest>& needed, std::int64_t min_age_s, Cleaner& cleaner) {
  LM_TRY(const std::vector<std::string> names, folder_names(folder));
  for (const std::string& name : names) {
    const std::optional<BlobFile> blob = BlobFile::parse(name);
    const bool companion = blob && blob->suffix == kChunksSuffix && blobs.has(blob->digest);
    if (!blob || companion || (needed.contains(blob->digest) && blob->suffix != kChunksSuffix)) {
      continue;
    }
    const auto state = file_state(folder, name);
    if (!state || age_seconds(*state) < min_age_s) {
      continue;
    }
    if (blob->suffix == kChunksSuffix) {
      LM_CHECK(cleaner.remove(folder, name, state->size_bytes));
    } else {
      LM_CHECK(blobs.remove(blob->digest, cleaner));
    }
  }
  return {};
}

Result<void> clean_old_indexes(const Folder& root, Cleaner& cleaner) {
  LM_TRY(const std::vector<std::string> names, folder_names(root));
  for (const std::string& name : names) {
    const auto state = file_state(root, name);
    if (name.starts_with(std::string(kIndexName) + ".corrupt-") && state && state->regular) {
      LM_CHECK(cleaner.remove(root, name, state->size_bytes));
    }
  }
  return {};
}

}  // namespace

Result<void> Store::Impl::clean(const PruneOptions& options, bool partials, Cleaner& cleaner) {
  if (!disk) {
    return std::unexpected(
        Error{.code = ErrorCode::io,
              .subject = index_path().native(),
              .problem = "nothing was cleaned up, because the leases can't be read"});
  }
  LM_TRY(std::set<Digest> needed, reachable_digests(folders.manifests));
  LM_TRY(std::set<Digest> leased, leased_digests());
  needed.merge(leased);
  const std::int64_t min_age_s = options.blob_age.count();
  LM_CHECK(clean_blobs(blobs(), folders.blobs, needed, min_age_s, cleaner));
  LM_CHECK(clean_temp_files(folders.tmp, min_age_s, cleaner));
  if (partials) {
    LM_CHECK(clean_old_partials(folders.partial, options.partial_age.count(), cleaner));
  }
  LM_CHECK(clean_orphan_journals(folders.partial, min_age_s, cleaner));
  if (options.old_indexes) {
    LM_CHECK(clean_old_indexes(folders.root, cleaner));
  }
  return {};
}

Result<std::uint64_t> Store::collect_garbage(std::chrono::seconds min_age) {
  LM_TRY(const Impl::Session session, impl_->begin_write());
  Cleaner cleaner;
  LM_CHECK(impl_->with_repair([&] { return impl_->clean({.blob_age = min_age}, false, cleaner); }));
  return cleaner.freed_bytes();
}

Result<std::uint64_t> Store::prune_partials(std::chrono::seconds min_age) {
  LM_TRY(const Impl::Session session, impl_->begin_write());
  Cleaner cleaner;
  LM_CHECK(clean_old_partials(impl_->folders.partial, min_age.count(), cleaner));
  return cleaner.freed_bytes();
}

Result<PruneReport> Store::prune(const PruneOptions& options) {
  Cleaner cleaner(options.dry_run);
  if (options.dry_run && !impl_->folders.blobs) {
    return PruneReport{};  // no store yet
  }
  if (options.dry_run) {
    LM_CHECK(impl_->read_index(
        [&](Index&) -> Result<void> { return impl_->clean(options, true, cleaner); }));
  } else {
    LM_TRY(const Impl::Session session, impl_->begin_write());
    LM_CHECK(impl_->with_repair([&] { return impl_->clean(options, true, cleaner); }));
  }
  return PruneReport{.files = cleaner.files(), .freed_bytes = cleaner.freed_bytes()};
}

}  // namespace lm::store
