// What a damaged blob still has to give to its repair.
#include "store/journal.h"
#include "store/partials.h"
#include "store/store_impl.h"

namespace lm::store {
namespace {

// Copies the chunks of `blob` that still match their sums into the file `to`, and notes them.
Result<void> keep_good_chunks(const OpenBlob& blob, const ChunkSums& sums, int to,
                              const std::string& subject, Journal& journal) {
  // Shared bytes need no copying; what is bad among them is simply not noted.
  const bool shared = clone_bytes(blob.fd.get(), to, subject).has_value();
  LM_CHECK(set_length(to, sums.size_bytes, !shared, subject));
  journal.chunks.assign(sums.sums.size(), std::nullopt);
  std::vector<std::byte> chunk(static_cast<std::size_t>(std::min(kChunkBytes, sums.size_bytes)));
  for (std::size_t i = 0; i < sums.sums.size(); ++i) {
    const std::uint64_t begin = i * kChunkBytes;
    const std::uint64_t end = std::min(begin + kChunkBytes, sums.size_bytes);
    if (end > blob.size_bytes) {
      break;
    }
    const std::span part = std::span(chunk).first(static_cast<std::size_t>(end - begin));
    LM_CHECK(read_exact(blob.fd.get(), part, begin, blob.path.native()));
    if (chunk_hash(part) != sums.sums[i]) {
      continue;
    }
    if (!shared) {
      LM_CHECK(write_at(to, part, begin, subject));
    }
    add_range(journal.done, {begin, end});
    journal.chunks[i] = sums.sums[i];
  }
  return {};
}

}  // namespace

Result<std::uint64_t> Store::salvage_blob(const Journal& identity) {
  LM_CHECK(impl_->check_writable());
  if (!identity.sha256) {
    return 0;
  }
  const Digest& digest = *identity.sha256;
  const auto blob = impl_->blobs().open_to_verify(digest);
  const auto sums = impl_->blobs().chunk_sums(digest);
  if (!blob || !sums || sums->size_bytes != identity.size_bytes) {
    return 0;
  }
  const std::filesystem::path path = partial_path(digest);
  LM_TRY(const std::optional<Fd> part, lock_partial(path, false));
  if (!part) {
    return 0;  // somebody fetches it already
  }
  LM_TRY(const FileState found, file_state(part->get(), path.native()));
  if (const auto known = read_journal(journal_path(digest));
      known && known->sha256 == identity.sha256 && known->done_bytes() > 0 &&
      found.size_bytes == identity.size_bytes) {
    return known->done_bytes();  // an earlier repair was broken off
  }
  Journal journal = identity;
  journal.done.clear();
  const auto kept = keep_good_chunks(*blob, *sums, part->get(), path.native(), journal);
  if (!kept || journal.done.empty()) {
    LM_CHECK(remove_file(impl_->folders.partial, path.filename().native()));
    LM_CHECK(kept);
    return 0;
  }
  LM_CHECK(sync_data(part->get(), path.native()));
  LM_CHECK(write_journal(journal_path(digest), journal));
  return journal.done_bytes();
}

}  // namespace lm::store
