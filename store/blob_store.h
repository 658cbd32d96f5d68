/// blobs/: immutable files named by their SHA-256.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/chunk_sums.h"
#include "store/manifest.h"
#include "store/paths.h"
#include "store/store.h"

namespace lm::store {

/// A blob opened for reading.
struct OpenBlob {
  Fd fd;
  std::filesystem::path path;  ///< in blobs/, or the foreign file of a reference
  std::uint64_t size_bytes = 0;
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
  using Progress = std::function<bool(std::uint64_t, std::uint64_t)>;

  explicit BlobStore(const Folders& folders) : folders_(folders) {}

  bool has(const Digest& digest) const;
  /// Size as stat (or the reference) tells it. Errors: not_found, corrupt, io.
  Result<std::uint64_t> size(const Digest& digest) const;
  /// Errors: not_found, corrupt (a reference whose file has changed), io.
  Result<OpenBlob> open(const Digest& digest) const;

  Result<Layer> add_bytes(std::string_view bytes, const Protect& protect) const;
  /// Reflink, else hard link, else copy.
  Result<Layer> add_file(const std::filesystem::path& path, const Protect& protect,
                         const Progress& progress) const;
  /// Notes where the file is instead of taking its bytes.
  Result<Layer> add_reference(const std::filesystem::path& path, const Protect& protect,
                              const Progress& progress) const;
  /// partial/<stem>.part becomes the blob; see Store::commit_partial.
  Result<void> commit_partial(const Digest& digest, std::uint64_t size_bytes,
                              const CommitOptions& options) const;

  /// Removes the blob and what belongs to it; returns the bytes freed.
  Result<std::uint64_t> remove(const Digest& digest) const;
  Result<ChunkSums> chunk_sums(const Digest& digest) const;

 private:
  struct Source;
  Result<std::optional<Digest>> add_by_clone(const Source& source, const Protect& protect,
                                             const Progress& progress) const;
  Result<std::optional<Digest>> add_by_link(const Source& source, const Protect& protect,
                                            const Progress& progress) const;
  Result<Digest> add_by_copy(const Source& source, const Protect& protect,
                             const Progress& progress) const;
  Result<void> write_beside(const Digest& digest, const char* suffix, std::string_view text) const;
  /// True when a blob of that size is in already.
  bool has_of_size(const Digest& digest, std::uint64_t size_bytes) const;

  const Folders& folders_;
};

}  // namespace lm::store
