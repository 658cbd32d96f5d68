/// The local store: models by name, blobs by digest, safe against crashes and against other
/// processes. Layout and step order: README.md of this folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/chunk_sums.h"
#include "store/fd.h"
#include "store/manifest.h"
#include "store/progress.h"

namespace lm::store {

struct Journal;

/// $LM_HOME, else $XDG_DATA_HOME/lm, else ~/.local/share/lm. Error (invalid_argument) naming the
/// variable when none of them gives an absolute path.
Result<std::filesystem::path> default_home();

// Files of the user below a store.
std::filesystem::path history_path(
    const std::filesystem::path& home);  ///< prompts typed into `lm run`
std::filesystem::path aliases_path(const std::filesystem::path& home);  ///< the user's short names
std::filesystem::path cache_path(
    const std::filesystem::path& home);  ///< folder of packed weights, pipelines...

/// A row of `lm list`.
struct ModelEntry {
  std::string name;
  std::string id;  ///< 64 hex digits: SHA-256 of the manifest's bytes
  std::uint64_t size_bytes = 0;
  std::int64_t modified_unix = 0;
  std::int64_t used_unix = 0;  ///< 0: never
  std::string architecture;
  std::string quantization;
  std::uint64_t parameter_count = 0;
};

/// An unfinished download, as `lm list -a` shows it.
struct PartialEntry {
  std::string name;  ///< model it belongs to, as the puller spelt it
  std::string file;  ///< partial/<file>
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
  std::int64_t modified_unix = 0;
};

/// A model ready to be read: its manifest and one open descriptor per `model` layer, in order. The
/// descriptors outlive `lm rm` of the model.
struct OpenModel {
  Manifest manifest;
  std::string id;
  std::vector<Fd> model_fds;
  std::vector<std::filesystem::path> model_paths;  ///< for messages and for `show --modelfile`
  Fd store_in_use = {};                            ///< while it is open the store isn't moved away
};

struct RemoveReport {
  std::string name;
  std::uint64_t freed_bytes = 0;
  std::vector<Digest> removed;  ///< blobs that nothing else used
};

/// Bytes of one model's blobs, their checksums included.
struct ModelUsage {
  std::string name;
  std::uint64_t unique_bytes = 0;  ///< of no other model
  std::uint64_t shared_bytes = 0;
};

/// Who takes how much of the disk below the store.
struct Usage {
  std::vector<ModelUsage> models;   ///< by key
  std::uint64_t model_bytes = 0;    ///< of all models, shared blobs once
  std::uint64_t unused_bytes = 0;   ///< blobs without a model, and tmp/
  std::uint64_t partial_bytes = 0;  ///< unfinished downloads, as the disk holds them
  std::uint64_t cache_bytes = 0;
  std::uint64_t linked_bytes = 0;   ///< of model_bytes: hard links whose owner has them too
  std::uint64_t foreign_bytes = 0;  ///< beside model_bytes: files elsewhere that are referred to
};

/// What `Store::prune` takes.
struct PruneOptions {
  std::chrono::seconds blob_age = std::chrono::hours(24);         ///< blobs, tmp/, lone journals
  std::chrono::seconds partial_age = std::chrono::hours(24 * 7);  ///< unfinished downloads
  bool old_indexes = false;  ///< also index files that were damaged and put aside
  bool dry_run = false;
};

struct PrunedFile {
  std::filesystem::path path;
  std::uint64_t size_bytes = 0;  ///< freed; 0 for a hard link whose owner keeps the bytes
};

struct PruneReport {
  std::vector<PrunedFile> files;
  std::uint64_t freed_bytes = 0;
};

struct MoveOptions {
  /// False: as between two disks, also on one.
  bool may_rename = true;
  Progress progress = {};
};

struct MoveReport {
  std::filesystem::path target;  ///< absolute: what LM_HOME must be from now on
  std::uint64_t moved_bytes = 0;
  bool renamed = false;  ///< one rename on the same file system: no byte was copied
};

/// How a foreign file is taken into the store.
enum class AdoptMode {
  automatic,  ///< the first of the following that is possible
  clone,      ///< shares the bytes until one side changes (FICLONE)
  link,       ///< another name of the owner's file
  reference,  ///< stays where it is: only path, size and time are kept
  copy,
};

struct AdoptOptions {
  AdoptMode mode = AdoptMode::automatic;
  /// What the file must be. A blob that is in under it already saves the hashing.
  std::optional<Digest> digest = {};
  /// Automatic may keep a reference rather than copy.
  bool may_refer = true;
  Progress progress = {};
};

/// A foreign file that is in now.
struct Adopted {
  Layer layer;  ///< kind model, carries a lease
  AdoptMode how = AdoptMode::automatic;
  bool was_there = false;  ///< the blob was in before; `how` says nothing then
};

/// How a finished partial becomes a blob.
struct CommitOptions {
  /// XXH64 of every 16 MiB chunk, in order; kept beside the blob so that `lm verify` can repair by
  /// chunk. May be empty.
  std::span<const std::uint64_t> chunk_sums = {};
  /// partial/<stem>.part when it isn't named by its digest ("url-<hex>"); its journal is removed as
  /// well.
  std::string stem = {};
  /// Takes the place of the blob that is there: a repair.
  bool replace = false;
};

/// What `Store::verify_blob` found.
struct BlobCheck {
  enum class State { good, missing, wrong_size, wrong_bytes };
  State state = State::good;
  std::uint64_t found_bytes = 0;
  std::filesystem::path path = {};  ///< of what was read; empty when there was nothing
  bool has_sums = false;            ///< checksums were kept for this blob, so chunks can be told
  /// Chunks whose checksum no longer fits, or that are missing at the end.
  std::vector<std::uint64_t> bad_chunks = {};
};

/// One process, any number of threads: calls may come from several at once.
class Store {
 public:
  enum class Mode { read_write, read_only };

  /// Opens the store at `home`, creating it in read_write mode; heals what a crash left behind and
  /// brings the index up to the manifests. A missing store opened read_only is an empty one. A
  /// read-only file system in read_write mode opens too; changes then fail with read_only. Errors:
  /// newer_schema, locked (it is being moved), io.
  static Result<Store> open(std::filesystem::path home, Mode mode);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  const std::filesystem::path& home() const;

  /// Models whose names begin with `prefix` (any case), newest first. At most one query; no
  /// manifest is opened.
  Result<std::vector<ModelEntry>> list(std::string_view prefix = {}) const;
  Result<std::vector<PartialEntry>> partials() const;
  Result<Usage> usage() const;
  /// Why manifests can't be read, one error each; none in a sound store.
  Result<std::vector<Error>> damaged_manifests() const;

  /// Finds by name (any case; a missing tag means ":latest") or by id prefix of at least 4 hex
  /// digits. Errors: not_found (hint names near matches), ambiguous.
  Result<Manifest> find(std::string_view name_or_id) const;
  /// As `find`, and opens the model's blobs under the shared lock; with `is_use` notes the time of
  /// use.
  Result<OpenModel> open_model(std::string_view name_or_id, bool is_use = true);

  /// Commit point of pull and create: every layer's blob must be in. Replaces a model of the same
  /// name; blobs that only the old one used go. Returns the model's id.
  Result<std::string> put(const Manifest& manifest);
  /// New name for the same blobs.
  Result<void> copy(std::string_view source, std::string_view destination);
  /// Removes the name, the blobs that nobody else uses and the model's partials. `dry_run` only
  /// reports.
  Result<RemoveReport> remove(std::string_view name_or_id, bool dry_run = false);

  // blobs
  bool has_blob(const Digest& digest) const;
  std::filesystem::path blob_path(const Digest& digest) const;
  /// Where the bytes can be read: in blobs/, or the foreign file of a reference. Errors: not_found,
  /// corrupt (that file has changed), io.
  Result<std::filesystem::path> readable_path(const Digest& digest) const;
  /// Takes a foreign file in: hashed, compared with the wanted digest, never changed (not even its
  /// mode). Errors: not_found, invalid_argument (no regular file), digest_mismatch, unsupported
  /// (the chosen mode isn't possible here), interrupted, no_space, io.
  Result<Adopted> adopt_file(const std::filesystem::path& path, const AdoptOptions& options = {});
  /// Blob from a local file without copying where the file system allows (reflink, hard link, else
  /// copy); returns its digest and size. `progress(done, total)` may return false to stop
  /// (interrupted).
  Result<Layer> add_file(const std::filesystem::path& path, const Progress& progress = {});
  /// Blob from bytes (licences, small files).
  Result<Layer> add_bytes(std::string_view bytes);
  /// Blob that stays where it is: only path, size and time of the file are kept. Reading it fails
  /// once it has changed.
  Result<Layer> add_reference(const std::filesystem::path& path, const Progress& progress = {});
  // All of them return a layer that carries a lease: the blob stays until `put` of a manifest with
  // that layer, or until the last copy of the layer is gone.

  /// Reads the whole blob and compares. A reference whose file looks different but has the right
  /// bytes is accepted again. Errors: io, interrupted; damage is a value.
  Result<BlobCheck> verify_blob(const Digest& digest, std::uint64_t size_bytes,
                                const Progress& progress = {}) const;

  /// Makes the good chunks of a damaged blob an unfinished download, which fetches only the rest;
  /// the blob itself stays until `commit_partial` replaces it. Returns the bytes kept: 0 when there
  /// are no checksums to tell good from bad, when nothing is good, or while somebody else fetches
  /// it. Errors: read_only, no_space, io.
  Result<std::uint64_t> salvage_blob(const Journal& identity);

  // downloads (registry/): the partial file of a digest, locked against other processes
  std::filesystem::path partial_path(const Digest& digest) const;  ///< partial/sha256-<hex>.part
  std::filesystem::path journal_path(const Digest& digest) const;  ///< partial/sha256-<hex>.journal
  /// Protects the blob that is to come from clean-up; put it into its layer. Other processes heed
  /// it for 24 hours: take another every hour. Errors: read_only, io.
  Result<Lease> take_lease(const Digest& digest, std::string_view model_name);
  /// Steps 3 and 4 of the step order for a finished partial whose digest the caller has verified:
  /// fdatasync, chmod 0444, rename into blobs/, fsync of the folder. An existing blob wins, unless
  /// its size is wrong or `replace` is set. The caller holds the lock of the .part (partials.h:
  /// lock_partial). Errors: not_found, size_mismatch, io, no_space.
  Result<void> commit_partial(const Digest& digest, std::uint64_t size_bytes,
                              const CommitOptions& options = {});

  /// Deletes blobs that no manifest and no live lease names and that are older than `min_age`, and
  /// what crashes left in tmp/; refuses to delete anything when a manifest can't be read. Returns
  /// bytes freed.
  Result<std::uint64_t> collect_garbage(std::chrono::seconds min_age);
  /// Both of the above and below in one, with an account of it; nothing that a live lease or a
  /// running download holds. A dry run only reports.
  Result<PruneReport> prune(const PruneOptions& options);
  /// Deletes unfinished downloads that were not touched for `min_age` and that nobody is working
  /// on. Returns bytes freed.
  Result<std::uint64_t> prune_partials(std::chrono::seconds min_age);

  /// Moves the whole store to `target`, a folder that is missing or empty; this object is of no use
  /// afterwards. At any instant one of the two is complete: on one file system it is a single
  /// rename, else every blob is copied and its digest checked, the manifests follow, and only then
  /// the old store goes, manifests first. Broken off, the same call goes on with what has arrived.
  /// Errors: invalid_argument (`target` is inside the store or around it), already_exists (not
  /// empty), locked (somebody else has the store or a model of it open), digest_mismatch (a damaged
  /// blob), read_only, no_space, interrupted, io.
  Result<MoveReport> move_to(const std::filesystem::path& target, const MoveOptions& options = {});

  // small values of other folders, for example the calibration of a device; lost with the index
  Result<std::optional<std::string>> value(std::string_view key) const;
  Result<void> set_value(std::string_view key, std::string_view value);

  /// False on a read-only file system or when opened read_only.
  bool is_writable() const;
  /// What happened that the user should hear of, each once: a damaged index that was rebuilt,
  /// manifests that can't be read, a network file system. Complete lines without "Warning: ".
  std::vector<std::string> warnings() const;

 private:
  struct Impl;
  explicit Store(std::shared_ptr<Impl> impl);
  template <class Add>
  Result<Layer> add_leased(Add add);
  Result<RemoveReport> remove_only_partials(std::string_view name, bool dry_run,
                                            const Error& no_model);
  std::shared_ptr<Impl> impl_;  ///< shared only with leases, which outlive the Store at will
};

}  // namespace lm::store
