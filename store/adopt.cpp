#include "store/adopt.h"

#include <algorithm>

#include <fmt/format.h>

#include "store/reference.h"
#include "store/sha256.h"

namespace lm::store {
namespace {

constexpr std::uint64_t kBlock = 1 << 20;

Error changed_meanwhile(const std::filesystem::path& path) {
  return {.code = ErrorCode::io,
          .subject = path.native(),
          .problem = "the file changed while it was read",
          .hint = "wait until nobody writes it and try again"};
}

// True for failures that say "not in this way": another way of adopting the file may still work.
bool another_way(const Error& error) {
  return error.code != ErrorCode::no_space && error.os_error != EIO;
}

const char* mode_name(AdoptMode mode) {
  switch (mode) {
    case AdoptMode::clone:
      return "a reflink";
    case AdoptMode::link:
      return "a hard link";
    case AdoptMode::reference:
      return "a reference";
    default:
      return "a copy";
  }
}

// SHA-256 of the whole and XXH64 of every chunk, in one pass.
class Hasher {
 public:
  void update(std::span<const std::byte> bytes) {
    sha_.update(bytes);
    while (!bytes.empty()) {
      const std::uint64_t room = kChunkBytes - in_chunk_;
      const std::span part =
          bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(room, bytes.size())));
      chunk_.update(part);
      in_chunk_ += part.size();
      if (in_chunk_ == kChunkBytes) {
        end_chunk();
      }
      bytes = bytes.subspan(part.size());
    }
  }
  Digest finish() {
    if (in_chunk_ > 0) {
      end_chunk();
    }
    return sha_.finish();
  }
  std::vector<std::uint64_t> sums() const { return sums_; }

 private:
  void end_chunk() {
    sums_.push_back(chunk_.finish());
    chunk_ = {};
    in_chunk_ = 0;
  }
  Sha256 sha_;
  ChunkHash chunk_;
  std::uint64_t in_chunk_ = 0;
  std::vector<std::uint64_t> sums_;
};

}  // namespace

/// A local file that is to become a blob.
struct Adoption::Source {
  std::filesystem::path path;
  Fd fd;
  FileState state;

  static Result<Source> open(const std::filesystem::path& path) {
    Source source;
    source.path = path;
    LM_TRY(source.fd, open_for_reading(path));
    LM_TRY(source.state, file_state(source.fd.get(), path.native()));
    return source;
  }
  Result<void> check_unchanged() const {
    LM_TRY(const FileState now, file_state(fd.get(), path.native()));
    if (now.size_bytes != state.size_bytes || now.mtime_ns != state.mtime_ns) {
      return std::unexpected(changed_meanwhile(path));
    }
    return {};
  }
  Adopted adopted(const Digest& digest, AdoptMode how, bool was_there = false) const {
    return {.layer = {.kind = LayerKind::model,
                      .digest = digest,
                      .size_bytes = state.size_bytes,
                      .file_name = path.filename().native()},
            .how = how,
            .was_there = was_there};
  }
};

struct Adoption::Hashes {
  Digest digest;
  ChunkSums chunks;
};

Result<Adopted> Adoption::run(const std::filesystem::path& path) {
  LM_TRY(const Source source, Source::open(path));
  LM_TRY(std::optional<Adopted> known, find_known(source));
  if (known) {
    return std::move(*known);
  }
  if (options_.mode != AdoptMode::automatic) {
    LM_TRY(std::optional<Adopted> done, try_mode(options_.mode, source));
    if (!done) {
      return std::unexpected(
          Error{.code = ErrorCode::unsupported,
                .subject = path.native(),
                .problem = fmt::format("{} into {} is not possible", mode_name(options_.mode),
                                       folders_.blobs.path.native()),
                .hint = "leave the way to lm, or take --copy"});
    }
    return std::move(*done);
  }
  for (const AdoptMode mode : {AdoptMode::clone, AdoptMode::link, AdoptMode::reference}) {
    if (mode == AdoptMode::reference && !options_.may_refer) {
      continue;
    }
    LM_TRY(std::optional<Adopted> done, try_mode(mode, source));
    if (done) {
      return std::move(*done);
    }
  }
  return by_copy(source);
}

Result<void> Adoption::hash_source(const Source& source) {
  if (!of_source_) {
    LM_TRY(Hashes hashes, hash_file(source.fd.get(), source));
    of_source_ = std::make_shared<const Hashes>(std::move(hashes));
  }
  return {};
}

// A blob that is in under the wanted digest need not be hashed again.
Result<std::optional<Adopted>> Adoption::find_known(const Source& source) {
  if (!options_.digest) {
    return std::nullopt;
  }
  LM_CHECK(protect_(*options_.digest));
  const auto blob = blobs_.open(*options_.digest);
  if (!blob || blob->size_bytes != source.state.size_bytes) {
    return std::nullopt;
  }
  return source.adopted(*options_.digest, AdoptMode::automatic, true);
}

Result<std::optional<Adopted>> Adoption::try_mode(AdoptMode mode, const Source& source) {
  switch (mode) {
    case AdoptMode::clone:
      return by_clone(source);
    case AdoptMode::link:
      return by_link(source);
    case AdoptMode::reference:
      return by_reference(source);
    default:
      return by_copy(source);
  }
}

Result<Adoption::Hashes> Adoption::hash_file(int fd, const Source& source) const {
  const std::uint64_t total = source.state.size_bytes;
  std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlock, total)));
  Hasher hasher;
  for (std::uint64_t done = 0; done < total;) {
    const std::span part =
        std::span(block).first(static_cast<std::size_t>(std::min(kBlock, total - done)));
    LM_CHECK(read_exact(fd, part, done, source.path.native()));
    hasher.update(part);
    done += part.size();
    LM_CHECK(report_progress(options_.progress, done, total, source.path.native()));
  }
  const Digest digest = hasher.finish();
  return Hashes{.digest = digest, .chunks = {.size_bytes = total, .sums = hasher.sums()}};
}

Result<bool> Adoption::is_in(const Source& source, const Hashes& hashes) const {
  LM_CHECK(source.check_unchanged());
  if (options_.digest && hashes.digest != *options_.digest) {
    return std::unexpected(
        Error{.code = ErrorCode::digest_mismatch,
              .subject = source.path.native(),
              .problem = fmt::format("its SHA-256 is {}, expected {}", hashes.digest.hex(),
                                     options_.digest->hex()),
              .hint = "the file is damaged; fetch it again where it came from"});
  }
  LM_CHECK(protect_(hashes.digest));
  return blobs_.has_of_size(hashes.digest, source.state.size_bytes);
}

// The checksums first: whoever sees the blob finds them.
Result<void> Adoption::publish(TempFile& file, const Hashes& hashes) const {
  LM_CHECK(set_mode(file.fd(), kBlobMode, file.subject()));
  LM_CHECK(sync_file(file.fd(), file.subject()));
  LM_CHECK(blobs_.write_beside(hashes.digest, kChunksSuffix, hashes.chunks.to_text()));
  // Over a file of another size: it isn't what its name says.
  LM_CHECK(file.publish_over(folders_.blobs, hashes.digest.blob_name()));
  return sync_folder(folders_.blobs);
}

Result<std::optional<Adopted>> Adoption::by_clone(const Source& source) {
  LM_TRY(TempFile file, TempFile::create(folders_.tmp));
  const auto cloned = clone_bytes(source.fd.get(), file.fd(), source.path.native());
  if (!cloned && another_way(cloned.error())) {
    return std::nullopt;
  }
  LM_CHECK(cloned);
  LM_TRY(const FileState state, file_state(file.fd(), file.subject()));
  if (state.size_bytes != source.state.size_bytes) {
    return std::unexpected(changed_meanwhile(source.path));
  }
  LM_TRY(const Hashes hashes, hash_file(file.fd(), source));
  LM_TRY(const bool in, is_in(source, hashes));
  if (!in) {
    LM_CHECK(publish(file, hashes));
  }
  return source.adopted(hashes.digest, AdoptMode::clone, in);
}

Result<std::optional<Adopted>> Adoption::by_link(const Source& source) {
  LM_TRY(const FileState blobs, file_state(folders_.blobs.fd.get(), folders_.blobs.path.native()));
  if (blobs.device != source.state.device) {
    return std::nullopt;
  }
  LM_CHECK(hash_source(source));
  const Hashes& hashes = *of_source_;
  LM_TRY(const bool in, is_in(source, hashes));
  if (in) {
    return source.adopted(hashes.digest, AdoptMode::link, true);
  }
  LM_CHECK(sync_file(source.fd.get(), source.path.native()));
  LM_CHECK(blobs_.write_beside(hashes.digest, kChunksSuffix, hashes.chunks.to_text()));
  const auto linked = link_new(source.fd.get(), folders_.blobs, hashes.digest.blob_name());
  if (!linked && another_way(linked.error())) {
    return std::nullopt;
  }
  LM_TRY(const bool is_new, linked);
  if (!is_new) {
    return std::nullopt;  // a file of another size has the name: a copy replaces it
  }
  // No chmod: the mode belongs to the owner's file as well.
  LM_CHECK(sync_folder(folders_.blobs));
  return source.adopted(hashes.digest, AdoptMode::link);
}

Result<std::optional<Adopted>> Adoption::by_reference(const Source& source) {
  std::error_code failed;
  const std::filesystem::path real = std::filesystem::canonical(source.path, failed);
  if (failed) {
    return std::nullopt;
  }
  const Reference reference{
      .path = real, .size_bytes = source.state.size_bytes, .mtime_ns = source.state.mtime_ns};
  const auto text = reference.to_text();
  if (!text && options_.mode == AdoptMode::automatic) {
    return std::nullopt;
  }
  LM_CHECK(text);
  LM_CHECK(hash_source(source));
  const Hashes& hashes = *of_source_;
  LM_TRY(const bool in, is_in(source, hashes));
  if (in) {
    return source.adopted(hashes.digest, AdoptMode::reference, true);
  }
  LM_CHECK(blobs_.write_beside(hashes.digest, kChunksSuffix, hashes.chunks.to_text()));
  LM_CHECK(blobs_.write_beside(hashes.digest, kRefSuffix, *text));
  LM_CHECK(sync_folder(folders_.blobs));
  // What has the blob's name has another size: it would hide the reference.
  LM_CHECK(remove_file(folders_.blobs, hashes.digest.blob_name()));
  return source.adopted(hashes.digest, AdoptMode::reference);
}

Result<Adopted> Adoption::by_copy(const Source& source) {
  const std::uint64_t total = source.state.size_bytes;
  LM_TRY(TempFile file, TempFile::create(folders_.tmp));
  LM_CHECK(set_length(file.fd(), total, true, file.subject()));
  std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlock, total)));
  Hasher hasher;
  for (std::uint64_t done = 0; done < total;) {
    const std::span part =
        std::span(block).first(static_cast<std::size_t>(std::min(kBlock, total - done)));
    LM_CHECK(read_exact(source.fd.get(), part, done, source.path.native()));
    hasher.update(part);
    LM_CHECK(write_at(file.fd(), part, done, file.subject()));
    done += part.size();
    LM_CHECK(report_progress(options_.progress, done, total, source.path.native()));
  }
  const Digest digest = hasher.finish();
  const Hashes hashes{.digest = digest, .chunks = {.size_bytes = total, .sums = hasher.sums()}};
  LM_TRY(const bool in, is_in(source, hashes));
  if (!in) {
    LM_CHECK(publish(file, hashes));
  }
  return source.adopted(hashes.digest, AdoptMode::copy, in);
}

}  // namespace lm::store
