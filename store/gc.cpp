// What nobody needs any more: collect_garbage, prune_partials, verify_blob's reading of what is
// there.
#include <set>

#include "store/partials.h"
#include "store/sha256.h"
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

}  // namespace

Result<std::uint64_t> Store::collect_garbage(std::chrono::seconds min_age) {
  LM_TRY(const Impl::Session session, impl_->begin_write());
  if (!impl_->disk) {
    return std::unexpected(
        Error{.code = ErrorCode::io,
              .subject = impl_->index_path().native(),
              .problem = "nothing was cleaned up, because the leases can't be read"});
  }
  const Folders& folders = impl_->folders;
  LM_TRY(std::set<Digest> needed, reachable_digests(folders.manifests));
  LM_TRY(std::set<Digest> leased, impl_->with_repair([&] { return impl_->leased_digests(); }));
  needed.merge(leased);
  LM_TRY(const std::vector<std::string> names, folder_names(folders.blobs));
  std::uint64_t freed_bytes = 0;
  for (const std::string& name : names) {
    const std::optional<BlobFile> blob = BlobFile::parse(name);
    // What isn't named like ours isn't ours to delete. Checksums go with their blob, or when they
    // have none.
    const bool companion =
        blob && blob->suffix == kChunksSuffix && impl_->blobs().has(blob->digest);
    if (!blob || companion || (needed.contains(blob->digest) && blob->suffix != kChunksSuffix)) {
      continue;
    }
    const auto state = file_state(folders.blobs, name);
    if (!state || age_seconds(*state) < min_age.count()) {
      continue;
    }
    if (blob->suffix.empty()) {
      LM_TRY(const std::uint64_t freed, impl_->blobs().remove(blob->digest));
      freed_bytes += freed;
    } else {
      LM_TRY(const bool removed, remove_file(folders.blobs, name));
      freed_bytes += removed ? state->size_bytes : 0;
    }
  }
  LM_TRY(const std::uint64_t temp_bytes, clean_temp_files(folders.tmp, min_age.count()));
  LM_TRY(const std::uint64_t journal_bytes,
         clean_orphan_journals(folders.partial, min_age.count()));
  return freed_bytes + temp_bytes + journal_bytes;
}

Result<std::uint64_t> Store::prune_partials(std::chrono::seconds min_age) {
  LM_TRY(const Impl::Session session, impl_->begin_write());
  return remove_old_partials(impl_->folders.partial, min_age.count());
}

}  // namespace lm::store
