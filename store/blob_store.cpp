#include "store/blob_store.h"

#include <fmt/format.h>

#include "store/reference.h"
#include "store/sha256.h"
#include "store/temp_file.h"

namespace lm::store {
namespace {

constexpr std::uint64_t kSmallFileLimit = std::uint64_t{64} << 20;  // of .chunks

}  // namespace

std::optional<BlobFile> BlobFile::parse(std::string_view name) {
  constexpr std::size_t kDigestLength = 7 + 64;
  if (!name.starts_with("sha256-")) {
    return std::nullopt;
  }
  const auto digest = Digest::parse(name.substr(0, kDigestLength));
  const std::string_view suffix = name.substr(std::min(kDigestLength, name.size()));
  if (!digest || (!suffix.empty() && suffix != kRefSuffix && suffix != kChunksSuffix)) {
    return std::nullopt;
  }
  return BlobFile{.digest = *digest, .suffix = std::string(suffix)};
}

bool BlobStore::has(const Digest& digest) const {
  return size(digest).has_value();
}

Result<std::uint64_t> BlobStore::size(const Digest& digest) const {
  auto state = file_state(folders_.blobs, digest.blob_name());
  if (state) {
    return state->size_bytes;
  }
  if (state.error().code != ErrorCode::not_found) {
    return std::unexpected(std::move(state).error());
  }
  auto reference = read_reference(folders_.blobs, digest.blob_name() + kRefSuffix);
  if (!reference) {
    // The missing blob is the news, not the reference that could have stood for it.
    return std::unexpected(reference.error().code == ErrorCode::not_found ? state.error()
                                                                          : reference.error());
  }
  return reference->size_bytes;
}

bool BlobStore::has_of_size(const Digest& digest, std::uint64_t size_bytes) const {
  const auto state = file_state(folders_.blobs, digest.blob_name());
  return state && state->size_bytes == size_bytes;
}

Result<OpenBlob> BlobStore::open(const Digest& digest) const {
  LM_TRY(OpenBlob blob, open_to_verify(digest));
  if (blob.changed) {
    return std::unexpected(
        Error{.code = ErrorCode::corrupt,
              .subject = blob.path.native(),
              .problem = fmt::format("the file has changed since it was imported (it has {} bytes)",
                                     blob.size_bytes),
              .hint = "lm verify reads it again and accepts it when its bytes are the same"});
  }
  return blob;
}

Result<OpenBlob> BlobStore::open_to_verify(const Digest& digest) const {
  const std::string name = digest.blob_name();
  auto fd = open_for_reading(folders_.blobs, name);
  if (fd) {
    LM_TRY(const FileState state, file_state(fd->get(), folders_.blobs.at(name).native()));
    return OpenBlob{
        .fd = std::move(*fd), .path = folders_.blobs.at(name), .size_bytes = state.size_bytes};
  }
  if (fd.error().code != ErrorCode::not_found) {
    return std::unexpected(std::move(fd).error());
  }
  auto reference = read_reference(folders_.blobs, name + kRefSuffix);
  if (!reference) {
    return std::unexpected(reference.error().code == ErrorCode::not_found ? fd.error()
                                                                          : reference.error());
  }
  LM_TRY(Fd foreign, reference->open());
  LM_TRY(const FileState state, file_state(foreign.get(), reference->path.native()));
  OpenBlob blob{.fd = std::move(foreign), .path = reference->path, .size_bytes = state.size_bytes};
  if (!reference->looks_as_noted(state)) {
    blob.changed = state;
  }
  return blob;
}

Result<void> BlobStore::renew_reference(const Digest& digest, const OpenBlob& verified) const {
  const Reference reference{.path = verified.path,
                            .size_bytes = verified.size_bytes,
                            .mtime_ns = verified.changed->mtime_ns};
  LM_TRY(const std::string text, reference.to_text());
  LM_CHECK(write_beside(digest, kRefSuffix, text));
  return sync_folder(folders_.blobs);
}

Result<Layer> BlobStore::add_bytes(std::string_view bytes, const Protect& protect) const {
  const Layer layer{.kind = LayerKind::license,
                    .digest = sha256(bytes),
                    .size_bytes = bytes.size(),
                    .file_name = {}};
  LM_CHECK(protect(layer.digest));
  if (has_of_size(layer.digest, bytes.size())) {
    return layer;
  }
  LM_TRY(TempFile file, TempFile::create(folders_.tmp));
  LM_CHECK(file.write(bytes));
  LM_CHECK(set_mode(file.fd(), kBlobMode, file.subject()));
  LM_CHECK(sync_file(file.fd(), file.subject()));
  // Over a file of another size: it isn't what its name says.
  LM_CHECK(file.publish_over(folders_.blobs, layer.digest.blob_name()));
  LM_CHECK(sync_folder(folders_.blobs));
  return layer;
}

Result<void> BlobStore::write_beside(const Digest& digest, const char* suffix,
                                     std::string_view text) const {
  LM_TRY(TempFile file, TempFile::create(folders_.tmp));
  LM_CHECK(file.write(text));
  LM_CHECK(sync_file(file.fd(), file.subject()));
  return file.publish_over(folders_.blobs, digest.blob_name() + suffix);
}

Result<void> BlobStore::commit_partial(const Digest& digest, std::uint64_t size_bytes,
                                       const CommitOptions& options) const {
  const std::string stem = options.stem.empty() ? digest.blob_name() : options.stem;
  const std::string part = stem + kPartSuffix;
  const std::string subject = folders_.partial.at(part).native();
  LM_TRY(const Fd fd, open_for_reading(folders_.partial, part));
  LM_TRY(const FileState state, file_state(fd.get(), subject));
  if (state.size_bytes != size_bytes) {
    return std::unexpected(Error{
        .code = ErrorCode::size_mismatch,
        .subject = subject,
        .problem = fmt::format("the file has {} bytes (expected {})", state.size_bytes, size_bytes),
        .hint = "the download is incomplete; run lm pull again"});
  }
  LM_CHECK(sync_data(fd.get(), subject));
  LM_CHECK(set_mode(fd.get(), kBlobMode, subject));
  if (!options.chunk_sums.empty()) {
    const ChunkSums sums{.size_bytes = size_bytes,
                         .sums = {options.chunk_sums.begin(), options.chunk_sums.end()}};
    LM_CHECK(write_beside(digest, kChunksSuffix, sums.to_text()));
  }
  if (options.replace || (has(digest) && !has_of_size(digest, size_bytes))) {
    LM_CHECK(rename_over(folders_.partial, part, folders_.blobs, digest.blob_name()));
  } else {
    LM_TRY(const bool renamed,
           rename_new(folders_.partial, part, folders_.blobs, digest.blob_name()));
    if (!renamed) {
      LM_CHECK(remove_file(folders_.partial, part));
    }
  }
  LM_CHECK(sync_folder(folders_.blobs));
  if (!options.stem.empty()) {
    LM_CHECK(remove_file(folders_.partial, stem + kJournalSuffix));
  }
  return {};
}

Result<void> BlobStore::remove(const Digest& digest, Cleaner& cleaner) const {
  for (const char* suffix : {"", kRefSuffix, kChunksSuffix}) {
    const std::string name = digest.blob_name() + suffix;
    if (const auto state = file_state(folders_.blobs, name)) {
      // Another name of the same bytes, the owner's, keeps them.
      LM_CHECK(cleaner.remove(folders_.blobs, name, state->n_links > 1 ? 0 : state->size_bytes));
    } else if (state.error().code != ErrorCode::not_found) {
      return std::unexpected(state.error());
    }
  }
  return {};
}

Result<ChunkSums> BlobStore::chunk_sums(const Digest& digest) const {
  const std::string name = digest.blob_name() + kChunksSuffix;
  LM_TRY(const Fd fd, open_for_reading(folders_.blobs, name));
  LM_TRY(const std::string text,
         read_text(fd.get(), kSmallFileLimit, folders_.blobs.at(name).native()));
  return ChunkSums::from_text(text, folders_.blobs.at(name).native());
}

}  // namespace lm::store
