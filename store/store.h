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

namespace lm::store {

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
};

struct RemoveReport {
  std::string name;
  std::uint64_t freed_bytes = 0;
  std::vector<Digest> removed;  ///< blobs that nothing else used
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
  /// Chunks whose checksum no longer fits; empty when there are no checksums for this blob.
  std::vector<std::uint64_t> bad_chunks;
};

/// One process, any number of threads: calls may come from several at once.
class Store {
 public:
  enum class Mode { read_write, read_only };

  /// Opens the store at `home`, creating it in read_write mode; heals what a crash left behind and
  /// brings the index up to the manifests. A missing store opened read_only is an empty one. A
  /// read-only file system in read_write mode opens too; changes then fail with read_only. Errors:
  /// newer_schema, io.
  static Result<Store> open(std::filesystem::path home, Mode mode);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  const std::filesystem::path& home() const;

  /// Models whose names begin with `prefix` (any case), newest first. At most one query; no
  /// manifest is opened.
  Result<std::vector<ModelEntry>> list(std::string_view prefix = {}) const;
  Result<std::vector<PartialEntry>> partials() const;

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
  /// Blob from a local file without copying where the file system allows (reflink, hard link, else
  /// copy); returns its digest and size. `progress(done, total)` may return false to stop
  /// (interrupted).
  Result<Layer> add_file(const std::filesystem::path& path,
                         const std::function<bool(std::uint64_t, std::uint64_t)>& progress = {});
  /// Blob from bytes (licences, small files).
  Result<Layer> add_bytes(std::string_view bytes);
  /// Blob that stays where it is: only path, size and time of the file are kept. Reading it fails
  /// once it has changed.
  Result<Layer> add_reference(
      const std::filesystem::path& path,
      const std::function<bool(std::uint64_t, std::uint64_t)>& progress = {});
  // All three return a layer that carries a lease: the blob stays until `put` of a manifest with
  // that layer, or until the last copy of the layer is gone.

  /// Reads the whole blob and compares. Errors: io, interrupted; damage is a value.
  Result<BlobCheck> verify_blob(
      const Digest& digest, std::uint64_t size_bytes,
      const std::function<bool(std::uint64_t, std::uint64_t)>& progress = {}) const;

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
  /// Deletes unfinished downloads that were not touched for `min_age` and that nobody is working
  /// on. Returns bytes freed.
  Result<std::uint64_t> prune_partials(std::chrono::seconds min_age);

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
