// Who takes how much of the disk: Store::usage, Store::damaged_manifests.
#include <map>
#include <set>

#include "store/store_impl.h"

namespace lm::store {
namespace {

// Bytes that the files of a folder and of its subfolders take; what can't be read counts nothing.
std::uint64_t folder_bytes(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator
           it(folder, fs::directory_options::skip_permission_denied, error),
       end;
       !error && it != end; it.increment(error)) {
    std::error_code gone;
    if (it->is_regular_file(gone) && !it->is_symlink(gone)) {
      const std::uint64_t size = it->file_size(gone);
      bytes += gone ? 0 : size;
    }
  }
  return bytes;
}

struct Counted {
  std::uint64_t bytes = 0;
  std::uint64_t users = 0;
};

}  // namespace

Result<Usage> Store::usage() const {
  return impl_->read_index([&](Index&) -> Result<Usage> {
    Usage usage;
    const Folders& folders = impl_->folders;
    if (!folders.manifests || !folders.blobs) {
      return usage;
    }
    LM_TRY(const std::vector<std::string> keys, manifest_keys(folders.manifests));
    std::map<Digest, Counted> blobs;
    std::vector<std::pair<std::string, std::set<Digest>>> models;
    for (const std::string& key : keys) {
      const auto stored = read_manifest(folders.manifests, key);
      if (!stored) {
        continue;  // told as a warning
      }
      std::set<Digest> digests;
      for (const Layer& layer : stored->manifest.layers) {
        if (digests.insert(layer.digest).second) {
          ++blobs[layer.digest].users;
        }
      }
      models.emplace_back(stored->manifest.name, std::move(digests));
    }
    LM_TRY(const std::vector<std::string> names, folder_names(folders.blobs));
    for (const std::string& name : names) {
      const auto state = file_state(folders.blobs, name);
      if (!state || !state->regular) {
        continue;
      }
      const auto blob = BlobFile::parse(name);
      const auto known = blob ? blobs.find(blob->digest) : blobs.end();
      if (known == blobs.end()) {
        usage.unused_bytes += state->size_bytes;
        continue;
      }
      known->second.bytes += state->size_bytes;
      usage.model_bytes += state->size_bytes;
      if (blob->suffix == kRefSuffix) {
        usage.foreign_bytes += impl_->blobs().size(blob->digest).value_or(0);
      } else if (state->n_links > 1) {
        usage.linked_bytes += state->size_bytes;
      }
    }
    for (const auto& [name, digests] : models) {
      ModelUsage model{.name = name};
      for (const Digest& digest : digests) {
        const Counted& blob = blobs.at(digest);
        (blob.users > 1 ? model.shared_bytes : model.unique_bytes) += blob.bytes;
      }
      usage.models.push_back(std::move(model));
    }
    for (const Folder* folder : {&folders.partial, &folders.tmp}) {
      if (!*folder) {
        continue;
      }
      LM_TRY(const std::vector<std::string> files, folder_names(*folder));
      for (const std::string& file : files) {
        const auto state = file_state(*folder, file);
        (folder == &folders.tmp ? usage.unused_bytes : usage.partial_bytes) +=
            state ? state->allocated_bytes : 0;
      }
    }
    usage.cache_bytes = folder_bytes(cache_path(impl_->home));
    return usage;
  });
}

Result<std::vector<Error>> Store::damaged_manifests() const {
  std::vector<Error> damaged;
  if (!impl_->folders.manifests) {
    return damaged;
  }
  LM_TRY(const std::vector<std::string> keys, manifest_keys(impl_->folders.manifests));
  for (const std::string& key : keys) {
    if (const auto stored = read_manifest(impl_->folders.manifests, key); !stored) {
      damaged.push_back(stored.error());
    }
  }
  return damaged;
}

}  // namespace lm::store
