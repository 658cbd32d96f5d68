/// blobs/: immutable files named by their SHA-256.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/chunk_sums.h"
#include "store/cleaner.h"
#include "store/manifest.h"
#include "store/paths.h"
#include "store/store.h"

namespace lm::store {

inline constexpr mode_t kBlobMode = 0444;

/// A blob opened for reading.
struct OpenBlob {
  Fd fd;
  std::filesystem::path path;  ///< in blobs/, or the foreign file of a reference
  std::uint64_t size_bytes = 0;
  /// Of a reference whose file no longer looks as it did: how it looks now.
  std::optional<FileState> changed = {};
};

/// What a file name in blobs/ says.
struct BlobFile {
  Digest digest;
  std::string suffix;  ///< "", ".ref" or ".chunks"
  static std::optional<BlobFile> parse(std::string_view name);
};

/// Works on folders that the caller keeps alive. Takes no locks.
class BlobStore {
 public:
  /// Called with a digest before its blob becomes visible, so that a lease can be taken.
  using Protect = std::function<Result<void>(const Digest&)>;

  explicit BlobStore(const Folders& folders) : folders_(folders) {}

  bool has(const Digest& digest) const;
  /// Size as stat (or the reference) tells it. Errors: not_found, corrupt, io.
  Result<std::uint64_t> size(const Digest& digest) const;
  /// Errors: not_found, corrupt (a reference whose file has changed), io.
  Result<OpenBlob> open(const Digest& digest) const;
  /// As `open`, and a changed reference too: for whoever is going to hash it.
  Result<OpenBlob> open_to_verify(const Digest& digest) const;
  /// The file of a reference has been hashed and is right: notes how it looks now. Error io.
  Result<void> renew_reference(const Digest& digest, const OpenBlob& verified) const;

  Result<Layer> add_bytes(std::string_view bytes, const Protect& protect) const;
  /// partial/<stem>.part becomes the blob; see Store::commit_partial.
  Result<void> commit_partial(const Digest& digest, std::uint64_t size_bytes,
                              const CommitOptions& options) const;

  /// Removes the blob and what belongs to it.
  Result<void> remove(const Digest& digest, Cleaner& cleaner) const;
  Result<ChunkSums> chunk_sums(const Digest& digest) const;
  /// True when a blob of that size is in already, its own bytes and not a reference.
  bool has_of_size(const Digest& digest, std::uint64_t size_bytes) const;
  /// Writes blobs/<blob_name><suffix>; durable once the folder is synced.
  Result<void> write_beside(const Digest& digest, const char* suffix, std::string_view text) const;

 private:
  const Folders& folders_;
};

}  // namespace lm::store
