/// A foreign file becomes a blob: cloned, linked, referred to or copied, and hashed on the way.
/// Private to store/; the public face is Store::adopt_file.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "store/blob_store.h"
#include "store/temp_file.h"

namespace lm::store {

/// Takes one file into blobs/. Nothing becomes visible before its digest is known, compared with
/// the wanted one and protected by a lease; the owner's file is only ever read, its mode included.
class Adoption {
 public:
  /// `blobs` and `folders` outlive it. `protect` is called with the digest before the blob becomes
  /// visible.
  Adoption(const Folders& folders, const AdoptOptions& options, const BlobStore::Protect& protect)
      : folders_(folders), blobs_(folders), options_(options), protect_(protect) {}

  /// Errors: not_found, invalid_argument (no regular file), digest_mismatch, unsupported (the
  /// chosen mode isn't possible here), interrupted, no_space, io.
  Result<Adopted> run(const std::filesystem::path& path);

 private:
  struct Source;
  struct Hashes;
  Result<std::optional<Adopted>> find_known(const Source& source);
  Result<std::optional<Adopted>> try_mode(AdoptMode mode, const Source& source);
  Result<std::optional<Adopted>> by_clone(const Source& source);
  Result<std::optional<Adopted>> by_link(const Source& source);
  Result<std::optional<Adopted>> by_reference(const Source& source);
  Result<Adopted> by_copy(const Source& source);
  Result<Hashes> hash_file(int fd, const Source& source) const;
  /// Of the owner's file, read once however many ways are tried.
  Result<void> hash_source(const Source& source);
  /// Compares with the wanted digest, protects, and looks whether the blob is in already.
  Result<bool> is_in(const Source& source, const Hashes& hashes) const;
  Result<void> publish(TempFile& file, const Hashes& hashes) const;

  const Folders& folders_;
  BlobStore blobs_;
  const AdoptOptions& options_;
  const BlobStore::Protect& protect_;
  std::shared_ptr<const Hashes> of_source_;
};

}  // namespace lm::store
