#include "store/blob_store.h"

#include <fmt/format.h>

#include "store/json_text.h"
#include "store/sha256.h"
#include "store/temp_file.h"

namespace lm::store {
namespace {

constexpr mode_t kBlobMode = 0444;
constexpr std::uint64_t kSmallFileLimit = std::uint64_t{64} << 20;  // of .ref and .chunks

/// A blob that lives elsewhere: blobs/sha256-<hex>.ref.
struct Reference {
  std::filesystem::path path;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
};

Result<Reference> read_reference(const Folder& blobs, const std::string& name) {
  const std::string subject = blobs.at(name).native();
  LM_TRY(const Fd fd, open_for_reading(blobs, name));
  LM_TRY(const std::string text, read_text(fd.get(), kSmallFileLimit, subject));
  LM_TRY(const nlohmann::json json, unseal(text, subject));
  const JsonReader reader(json, subject);
  Reference reference;
  LM_TRY(const std::string path, reader.text("path"));
  reference.path = path;
  LM_TRY(reference.size_bytes, reader.number("size"));
  LM_TRY(const std::uint64_t mtime_ns, reader.number("mtime_ns"));
  reference.mtime_ns = static_cast<std::int64_t>(mtime_ns);
  return reference;
}

Error unchanged_expected(const std::filesystem::path& path) {
  return {.code = ErrorCode::io,
          .subject = path.native(),
          .problem = "the file changed while it was read",
          .hint = "wait until nobody writes it and try again"};
}

// True for failures that say "not in this way": another way of adopting the file may still work.
bool another_way(const Error& error) {
  return error.code != ErrorCode::no_space && error.os_error != EIO;
}

}  // namespace

/// A local file that is to become a blob.
struct BlobStore::Source {
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
      return std::unexpected(unchanged_expected(path));
    }
    return {};
  }
  Layer layer(const Digest& digest) const {
    return {.kind = LayerKind::model,
            .digest = digest,
            .size_bytes = state.size_bytes,
            .file_name = path.filename().native()};
  }
};

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
  LM_TRY(Fd foreign, open_for_reading(reference->path));
  LM_TRY(const FileState state, file_state(foreign.get(), reference->path.native()));
  if (state.size_bytes != reference->size_bytes || state.mtime_ns != reference->mtime_ns) {
    return std::unexpected(Error{
        .code = ErrorCode::corrupt,
        .subject = reference->path.native(),
        .problem = fmt::format("the file has changed since it was imported ({} bytes, then {})",
                               state.size_bytes, reference->size_bytes),
        .hint = "import it again"});
  }
  return OpenBlob{
      .fd = std::move(foreign), .path = reference->path, .size_bytes = state.size_bytes};
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

Result<Layer> BlobStore::add_file(const std::filesystem::path& path, const Protect& protect,
                                  const Progress& progress) const {
  LM_TRY(const Source source, Source::open(path));
  LM_TRY(std::optional<Digest> digest, add_by_clone(source, protect, progress));
  LM_TRY(const FileState blobs, file_state(folders_.blobs.fd.get(), folders_.blobs.path.native()));
  if (!digest && blobs.device == source.state.device) {
    LM_TRY(digest, add_by_link(source, protect, progress));
  }
  if (!digest) {
    LM_TRY(digest, add_by_copy(source, protect, progress));
  }
  return source.layer(*digest);
}

Result<std::optional<Digest>> BlobStore::add_by_clone(const Source& source, const Protect& protect,
                                                      const Progress& progress) const {
  LM_TRY(TempFile file, TempFile::create(folders_.tmp));
  const auto cloned = clone_bytes(source.fd.get(), file.fd(), source.path.native());
  if (!cloned && another_way(cloned.error())) {
    return std::nullopt;
  }
  LM_CHECK(cloned);
  LM_TRY(const FileState state, file_state(file.fd(), file.subject()));
  if (state.size_bytes != source.state.size_bytes) {
    return std::unexpected(unchanged_expected(source.path));
  }
  LM_TRY(const Digest digest,
         sha256_of_file(file.fd(), state.size_bytes, source.path.native(), progress));
  LM_CHECK(protect(digest));
  if (has_of_size(digest, state.size_bytes)) {
    return digest;
  }
  LM_CHECK(set_mode(file.fd(), kBlobMode, file.subject()));
  LM_CHECK(sync_file(file.fd(), file.subject()));
  LM_CHECK(file.publish_over(folders_.blobs, digest.blob_name()));
  LM_CHECK(sync_folder(folders_.blobs));
  return digest;
}

Result<std::optional<Digest>> BlobStore::add_by_link(const Source& source, const Protect& protect,
                                                     const Progress& progress) const {
  LM_TRY(const Digest digest,
         sha256_of_file(source.fd.get(), source.state.size_bytes, source.path.native(), progress));
  LM_CHECK(source.check_unchanged());
  LM_CHECK(protect(digest));
  if (has_of_size(digest, source.state.size_bytes)) {
    return digest;
  }
  LM_CHECK(sync_file(source.fd.get(), source.path.native()));
  const auto linked = link_new(source.fd.get(), folders_.blobs, digest.blob_name());
  if (!linked && another_way(linked.error())) {
    return std::nullopt;
  }
  LM_TRY(const bool is_new, linked);
  if (!is_new) {
    return std::nullopt;  // a file of another size has the name: a copy replaces it
  }
  // No chmod: the mode belongs to the owner's file as well.
  LM_CHECK(sync_folder(folders_.blobs));
  return digest;
}

Result<Digest> BlobStore::add_by_copy(const Source& source, const Protect& protect,
                                      const Progress& progress) const {
  constexpr std::uint64_t kBlock = 1 << 20;
  const std::uint64_t total = source.state.size_bytes;
  LM_TRY(TempFile file, TempFile::create(folders_.tmp));
  LM_CHECK(set_length(file.fd(), total, true, file.subject()));
  std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlock, total)));
  Sha256 hasher;
  for (std::uint64_t done = 0; done < total;) {
    const std::span part =
        std::span(block).first(static_cast<std::size_t>(std::min(kBlock, total - done)));
    LM_CHECK(read_exact(source.fd.get(), part, done, source.path.native()));
    hasher.update(part);
    LM_CHECK(write_at(file.fd(), part, done, file.subject()));
    done += part.size();
    if (progress && !progress(done, total)) {
      return std::unexpected(
          Error{.code = ErrorCode::interrupted,
                .subject = source.path.native(),
                .problem = fmt::format("stopped after {} of {} bytes", done, total)});
    }
  }
  LM_CHECK(source.check_unchanged());
  const Digest digest = hasher.finish();
  LM_CHECK(protect(digest));
  if (has_of_size(digest, total)) {
    return digest;
  }
  LM_CHECK(set_mode(file.fd(), kBlobMode, file.subject()));
  LM_CHECK(sync_file(file.fd(), file.subject()));
  LM_CHECK(file.publish_over(folders_.blobs, digest.blob_name()));
  LM_CHECK(sync_folder(folders_.blobs));
  return digest;
}

Result<Layer> BlobStore::add_reference(const std::filesystem::path& path, const Protect& protect,
                                       const Progress& progress) const {
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(path, ignored);
  LM_TRY(const Source source, Source::open(absolute));
  LM_TRY(const Digest digest,
         sha256_of_file(source.fd.get(), source.state.size_bytes, absolute.native(), progress));
  LM_CHECK(source.check_unchanged());
  LM_CHECK(protect(digest));
  if (has_of_size(digest, source.state.size_bytes)) {
    return source.layer(digest);
  }
  nlohmann::ordered_json json = {{"path", absolute.native()},
                                 {"size", source.state.size_bytes},
                                 {"mtime_ns", source.state.mtime_ns}};
  std::string text;
  try {
    text = json.dump();
  } catch (const nlohmann::json::exception&) {
    return std::unexpected(
        Error{.code = ErrorCode::invalid_argument,
              .subject = absolute.native(),
              .problem = "a path that is not UTF-8 can't be imported by reference",
              .hint = "rename the file, or import it with --copy"});
  }
  LM_CHECK(write_beside(digest, kRefSuffix, seal(std::move(text))));
  LM_CHECK(sync_folder(folders_.blobs));
  return source.layer(digest);
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

Result<std::uint64_t> BlobStore::remove(const Digest& digest) const {
  std::uint64_t freed_bytes = 0;
  for (const char* suffix : {"", kRefSuffix, kChunksSuffix}) {
    const std::string name = digest.blob_name() + suffix;
    const auto state = file_state(folders_.blobs, name);
    LM_TRY(const bool removed, remove_file(folders_.blobs, name));
    if (removed && state) {
      freed_bytes += state->size_bytes;
    }
  }
  return freed_bytes;
}

Result<ChunkSums> BlobStore::chunk_sums(const Digest& digest) const {
  const std::string name = digest.blob_name() + kChunksSuffix;
  LM_TRY(const Fd fd, open_for_reading(folders_.blobs, name));
  LM_TRY(const std::string text,
         read_text(fd.get(), kSmallFileLimit, folders_.blobs.at(name).native()));
  return ChunkSums::from_text(text, folders_.blobs.at(name).native());
}

}  // namespace lm::store
