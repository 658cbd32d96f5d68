// Is a blob what its name says?
#include "store/sha256.h"
#include "store/store_impl.h"

namespace lm::store {
namespace {

// Chunks of an open file whose checksum isn't the one that was kept from the download; those that
// the file ends before count as well.
Result<std::vector<std::uint64_t>> bad_chunks(const OpenBlob& blob, const ChunkSums& sums) {
  std::vector<std::uint64_t> bad;
  std::vector<std::byte> chunk(static_cast<std::size_t>(std::min(kChunkBytes, sums.size_bytes)));
  for (std::uint64_t i = 0; i < sums.sums.size(); ++i) {
    const std::uint64_t begin = i * kChunkBytes;
    const std::uint64_t length = std::min(kChunkBytes, sums.size_bytes - begin);
    if (begin + length > blob.size_bytes) {
      bad.push_back(i);
      continue;
    }
    const std::span part = std::span(chunk).first(static_cast<std::size_t>(length));
    LM_CHECK(read_exact(blob.fd.get(), part, begin, blob.path.native()));
    if (chunk_hash(part) != sums.sums[static_cast<std::size_t>(i)]) {
      bad.push_back(i);
    }
  }
  return bad;
}

}  // namespace

Result<BlobCheck> Store::verify_blob(const Digest& digest, std::uint64_t size_bytes,
                                     const Progress& progress) const {
  BlobCheck check;
  const BlobStore blobs = impl_->blobs();
  auto blob = blobs.open_to_verify(digest);
  if (!blob) {
    if (blob.error().code != ErrorCode::not_found && blob.error().code != ErrorCode::corrupt) {
      return std::unexpected(std::move(blob).error());
    }
    check.state = blob.error().code == ErrorCode::not_found ? BlobCheck::State::missing
                                                            : BlobCheck::State::wrong_bytes;
    return check;
  }
  check.path = blob->path;
  check.found_bytes = blob->size_bytes;
  if (blob->size_bytes != size_bytes) {
    check.state = BlobCheck::State::wrong_size;
  } else {
    LM_TRY(const Digest found,
           sha256_of_file(blob->fd.get(), size_bytes, blob->path.native(), progress));
    if (found == digest) {
      if (blob->changed && impl_->writable) {
        LM_CHECK(blobs.renew_reference(digest, *blob));
      }
      return check;
    }
    check.state = BlobCheck::State::wrong_bytes;
  }
  const auto sums = blobs.chunk_sums(digest);
  if (sums && sums->size_bytes == size_bytes) {
    LM_TRY(check.bad_chunks, bad_chunks(*blob, *sums));
    check.has_sums = true;
  }
  return check;
}

}  // namespace lm::store
