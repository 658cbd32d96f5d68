#include "store/store.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "store/adopt.h"
#include "store/in_use.h"
#include "store/names.h"
#include "store/partials.h"
#include "store/sha256.h"
#include "store/store_impl.h"
#include "store/temp_file.h"

namespace lm::store {
namespace {

constexpr std::int64_t kLeaseSeconds = 24 * 3600;

bool is_denied(const Error& error) {
  return error.code == ErrorCode::read_only || error.os_error == EACCES || error.os_error == EPERM;
}

Error blob_missing(const std::filesystem::path& path, std::string_view model,
                   const Manifest& manifest) {
  Error error{.code = ErrorCode::corrupt,
              .subject = path.native(),
              .problem = fmt::format("a blob of model {} is missing", model)};
  error.hint = manifest.source_repo.empty() ? "create the model again"
                                            : fmt::format("run: lm pull {}", model);
  return error;
}

}  // namespace

Store::Store(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Result<Store> Store::open(std::filesystem::path home, Mode mode) {
  bool writable = mode == Mode::read_write;
  auto folders = Folders::open(home, writable);
  if (!folders && writable && is_denied(folders.error()) && open_folder(home, false)) {
    writable = false;
    folders = Folders::open(home, false);
  }
  if (!folders) {
    return std::unexpected(std::move(folders).error());
  }
  if (folders->root) {
    LM_CHECK(begin_use(folders->root));
  }
  const bool may_write_folder =
      folders->root && ::faccessat(folders->root.fd.get(), ".", W_OK, AT_EACCESS) == 0;
  writable = writable && may_write_folder;
  auto impl = std::make_shared<Impl>(std::move(home), writable, std::move(*folders));
  impl->others_may_write = may_write_folder;
  if (impl->folders.root && is_network_file_system(impl->folders.root)) {
    impl->warn(fmt::format("{} is on a network file system: don't use it from two machines at once",
                           impl->home.native()));
  }
  if (writable) {
    LM_TRY(impl->leases, LeaseBook::of_store(impl->folders.root));
  }
  if (const auto to = read_marker(impl->folders.root, kMovedToName); to && *to) {
    impl->warn(fmt::format("{} was moved: set LM_HOME={}", impl->home.native(), (*to)->native()));
  }
  if (const auto from = read_marker(impl->folders.root, kMovingFromName); from && *from) {
    impl->warn(fmt::format(
        "the move of {0} to {1} was broken off: run LM_HOME={0} lm move {1} to finish it",
        (*from)->native(), impl->home.native()));
  }
  LM_CHECK(impl->begin_read());
  return Store(std::move(impl));
}

const std::filesystem::path& Store::home() const {
  return impl_->home;
}
bool Store::is_writable() const {
  return impl_->writable;
}

std::vector<std::string> Store::warnings() const {
  const std::scoped_lock guard(impl_->mutex);
  return impl_->warnings;
}

Result<std::vector<ModelEntry>> Store::list(std::string_view prefix) const {
  LM_TRY(std::vector<ModelEntry> entries,
         impl_->read_index([](Index& index) { return index.list(); }));
  const std::string wanted = lower_case(prefix);
  std::erase_if(entries, [&](const ModelEntry& entry) {
    return !lower_case(entry.name).starts_with(wanted);
  });
  return entries;
}

Result<std::vector<PartialEntry>> Store::partials() const {
  return list_partials(impl_->folders.partial);
}

Result<Manifest> Store::find(std::string_view name_or_id) const {
  return impl_->read_index([&](Index&) -> Result<Manifest> {
    LM_TRY(const IndexedModel model, impl_->resolve(name_or_id));
    LM_TRY(StoredManifest stored, read_manifest(impl_->folders.manifests, model.key));
    return std::move(stored.manifest);
  });
}

Result<OpenModel> Store::open_model(std::string_view name_or_id, bool is_use) {
  return impl_->read_index([&](Index&) -> Result<OpenModel> {
    LM_TRY(const IndexedModel model, impl_->resolve(name_or_id));
    LM_TRY(StoredManifest stored, read_manifest(impl_->folders.manifests, model.key));
    OpenModel result{.manifest = std::move(stored.manifest),
                     .id = stored.id,
                     .model_fds = {},
                     .model_paths = {},
                     .store_in_use = {}};
    LM_TRY(result.store_in_use, share_use(impl_->folders.root));
    for (const Layer& layer : result.manifest.layers) {
      if (layer.kind != LayerKind::model) {
        continue;
      }
      auto blob = impl_->blobs().open(layer.digest);
      if (!blob && blob.error().code == ErrorCode::not_found) {
        return std::unexpected(blob_missing(blob.error().subject, model.name, result.manifest));
      }
      if (!blob) {
        return std::unexpected(std::move(blob).error());
      }
      if (blob->size_bytes != layer.size_bytes) {
        Error error = blob_missing(blob->path, model.name, result.manifest);
        error.problem = fmt::format("a blob of model {} has {} bytes (expected {})", model.name,
                                    blob->size_bytes, layer.size_bytes);
        return std::unexpected(std::move(error));
      }
      result.model_fds.push_back(std::move(blob->fd));
      result.model_paths.push_back(std::move(blob->path));
    }
    if (is_use && impl_->writable && impl_->disk) {
      // Nice to have: no reason to fail or to wait.
      static_cast<void>(impl_->disk->casually(
          [&](Index& index) { return index.note_use(model.key, std::time(nullptr)); }));
    }
    return result;
  });
}

Result<std::string> Store::put(const Manifest& manifest) {
  LM_CHECK(impl_->check_writable());
  Manifest stored = manifest;
  stored.name = with_tag(manifest.name);
  LM_CHECK(check_model_name(stored.name));
  const std::string key = manifest_key(stored.name);
  if (stored.modified_unix <= 0) {
    stored.modified_unix = std::time(nullptr);
  }
  // The spelling that was stored first stays.
  LM_TRY(const std::optional<IndexedModel> known,
         impl_->read_index([&](Index& index) { return index.model_by_key(key); }));
  if (known) {
    stored.name = known->name;
  }
  const std::string text = stored.to_json();
  if (text.size() > kManifestLimitBytes) {
    return std::unexpected(Error{.code = ErrorCode::limit_exceeded,
                                 .subject = stored.name,
                                 .problem = fmt::format("the manifest has {} bytes (limit {})",
                                                        text.size(), kManifestLimitBytes),
                                 .hint = "shorten its template, messages or licences"});
  }
  // Read back: nothing is written that a later start would refuse.
  LM_TRY(const Manifest checked, Manifest::from_json(text, stored.name));
  LM_TRY(TempFile file, TempFile::create(impl_->folders.tmp));
  LM_CHECK(file.write(text));
  LM_CHECK(sync_file(file.fd(), file.subject()));
  LM_TRY(const FileState state, file_state(file.fd(), file.subject()));

  LM_TRY(const Impl::Session session, impl_->begin_write());
  for (const Layer& layer : checked.layers) {
    LM_TRY(const std::uint64_t size_bytes, impl_->blobs().size(layer.digest));
    if (size_bytes != layer.size_bytes) {
      return std::unexpected(
          Error{.code = ErrorCode::size_mismatch,
                .subject = blob_path(layer.digest).native(),
                .problem = fmt::format("the blob has {} bytes (the manifest of {} says {})",
                                       size_bytes, stored.name, layer.size_bytes)});
    }
  }
  LM_TRY(std::vector<Digest> doomed, impl_->with_repair([&] { return impl_->only_used_by(key); }));
  // A blob that was there already may be there by the grace of a process that was killed before
  // its name was durable.
  LM_CHECK(sync_folder(impl_->folders.blobs));
  LM_CHECK(file.publish_over(impl_->folders.manifests, key + kManifestSuffix));
  LM_CHECK(sync_folder(impl_->folders.manifests));  // the commit point
  const std::string id = sha256(text).hex();
  const IndexedManifest row{
      .key = key, .inode = state.inode, .size_bytes = state.size_bytes, .mtime_ns = state.mtime_ns};
  impl_->update_index([&](Index& index) -> Result<void> {
    LM_CHECK(index.put_model(row, checked, id));
    for (const Layer& layer : stored.layers) {
      if (const auto& hold = layer.lease.hold_; hold && hold->leave()) {
        LM_CHECK(index.delete_lease(
            {.digest = hold->key.digest, .model_key = hold->key.model_key, .owner = impl_->self}));
      }
    }
    return {};
  });
  for (const Layer& layer : checked.layers) {
    std::erase(doomed, layer.digest);
    LM_CHECK(remove_file(impl_->folders.partial, layer.digest.blob_name() + kJournalSuffix));
  }
  LM_CHECK(impl_->remove_blobs(doomed));
  return id;
}

Result<void> Store::copy(std::string_view source, std::string_view destination) {
  LM_CHECK(impl_->check_writable());
  LM_CHECK(check_model_name(with_tag(destination)));
  LM_TRY(Manifest manifest, find(source));
  if (manifest_key(manifest.name) == manifest_key(with_tag(destination))) {
    return {};
  }
  manifest.name = with_tag(destination);
  manifest.modified_unix = 0;
  LM_CHECK(put(manifest));
  return {};
}

Result<RemoveReport> Store::remove(std::string_view name_or_id, bool dry_run) {
  struct Plan {
    IndexedModel model;
    std::vector<Digest> blobs;
  };
  const auto make_plan = [&]() -> Result<Plan> {
    Plan plan;
    auto model = impl_->resolve(name_or_id);
    if (!model) {
      plan.model.name = with_tag(name_or_id);
      plan.model.key = manifest_key(plan.model.name);
      // A manifest that can't be read may go all the same; which blobs it named, nobody knows.
      const auto damaged = impl_->folders.manifests.at(plan.model.key + kManifestSuffix);
      if (model.error().subject == damaged.native()) {
        return plan;
      }
      return std::unexpected(std::move(model).error());
    }
    plan.model = std::move(*model);
    LM_TRY(plan.blobs, impl_->only_used_by(plan.model.key));
    return plan;
  };
  RemoveReport report;
  if (dry_run) {
    const auto plan = impl_->read_index([&](Index&) { return make_plan(); });
    if (!plan) {
      return remove_only_partials(name_or_id, dry_run, plan.error());
    }
    report.name = plan->model.name;
    report.removed = plan->blobs;
    for (const Digest& digest : report.removed) {
      report.freed_bytes += impl_->blobs().size(digest).value_or(0);
    }
    Cleaner partials(true);
    LM_CHECK(clean_partials_of(impl_->folders.partial, plan->model.key, partials));
    report.freed_bytes += partials.freed_bytes();
    return report;
  }
  LM_TRY(const Impl::Session session, impl_->begin_write());
  const auto plan = impl_->with_repair(make_plan);
  if (!plan) {
    return remove_only_partials(name_or_id, dry_run, plan.error());
  }
  report.name = plan->model.name;
  report.removed = plan->blobs;
  LM_CHECK(remove_file(impl_->folders.manifests, plan->model.key + kManifestSuffix));
  LM_CHECK(sync_folder(impl_->folders.manifests));  // the commit point
  impl_->update_index([&](Index& index) { return index.forget_model(plan->model.key); });
  LM_TRY(report.freed_bytes, impl_->remove_blobs(report.removed));
  Cleaner partials;
  LM_CHECK(clean_partials_of(impl_->folders.partial, plan->model.key, partials));
  report.freed_bytes += partials.freed_bytes();
  return report;
}

// `rm` of a download that never became a model; otherwise the error that there is no such model.
Result<RemoveReport> Store::remove_only_partials(std::string_view name, bool dry_run,
                                                 const Error& no_model) {
  if (no_model.code != ErrorCode::not_found) {
    return std::unexpected(no_model);
  }
  RemoveReport report{.name = with_tag(name), .freed_bytes = 0, .removed = {}};
  Cleaner partials(dry_run);
  LM_CHECK(clean_partials_of(impl_->folders.partial, manifest_key(report.name), partials));
  if (partials.files().empty()) {
    return std::unexpected(no_model);
  }
  report.freed_bytes = partials.freed_bytes();
  return report;
}

bool Store::has_blob(const Digest& digest) const {
  return impl_->blobs().has(digest);
}

std::filesystem::path Store::blob_path(const Digest& digest) const {
  return impl_->home / "blobs" / digest.blob_name();
}

Result<std::filesystem::path> Store::readable_path(const Digest& digest) const {
  LM_TRY(OpenBlob blob, impl_->blobs().open(digest));
  return std::move(blob.path);
}

template <class Add>
Result<Layer> Store::add_leased(Add add) {
  LM_CHECK(impl_->check_writable());
  Lease lease;
  const BlobStore::Protect protect = [&](const Digest& digest) -> Result<void> {
    LM_TRY(lease, take_lease(digest, ""));
    return {};
  };
  LM_TRY(Layer layer, add(protect));
  layer.lease = std::move(lease);
  return layer;
}

Result<Adopted> Store::adopt_file(const std::filesystem::path& path, const AdoptOptions& options) {
  Adopted adopted;
  LM_TRY(adopted.layer, add_leased([&](const BlobStore::Protect& protect) -> Result<Layer> {
           LM_TRY(adopted, Adoption(impl_->folders, options, protect).run(path));
           return std::move(adopted.layer);
         }));
  return adopted;
}

Result<Layer> Store::add_file(const std::filesystem::path& path, const Progress& progress) {
  LM_TRY(Adopted adopted, adopt_file(path, {.may_refer = false, .progress = progress}));
  return std::move(adopted.layer);
}

Result<Layer> Store::add_bytes(std::string_view bytes) {
  return add_leased(
      [&](const BlobStore::Protect& protect) { return impl_->blobs().add_bytes(bytes, protect); });
}

Result<Layer> Store::add_reference(const std::filesystem::path& path, const Progress& progress) {
  LM_TRY(Adopted adopted, adopt_file(path, {.mode = AdoptMode::reference, .progress = progress}));
  return std::move(adopted.layer);
}

std::filesystem::path Store::partial_path(const Digest& digest) const {
  return impl_->home / "partial" / (digest.blob_name() + kPartSuffix);
}

std::filesystem::path Store::journal_path(const Digest& digest) const {
  return impl_->home / "partial" / (digest.blob_name() + kJournalSuffix);
}

Result<Lease> Store::take_lease(const Digest& digest, std::string_view model_name) {
  LM_CHECK(impl_->check_writable());
  const LeaseKey key{
      .digest = digest,
      .model_key = model_name.empty() ? std::string() : manifest_key(with_tag(model_name))};
  // Into the book before the row is written: a holder that leaves now leaves the row alone.
  auto hold = std::make_shared<Lease::Hold>(impl_->leases, key);
  const auto written = impl_->read_index([&](Index&) -> Result<void> {
    if (!impl_->disk) {
      return std::unexpected(
          Error{.code = ErrorCode::io,
                .subject = impl_->index_path().native(),
                .problem = "the index can't be written, so nothing can be protected from clean-up",
                .hint = "see the warning about it"});
    }
    LM_TRY(Transaction transaction, impl_->disk->begin());
    LM_CHECK(impl_->disk->put_lease({.digest = digest,
                                     .model_key = key.model_key,
                                     .owner = impl_->self,
                                     .expires_unix = std::time(nullptr) + kLeaseSeconds}));
    return transaction.commit();
  });
  LM_CHECK(written);
  hold->on_last = [store = std::weak_ptr<Impl>(impl_)](const LeaseKey& last) {
    if (const auto impl = store.lock()) {
      impl->forget_lease(last);
    }
  };
  return Lease(std::move(hold));
}

Result<void> Store::commit_partial(const Digest& digest, std::uint64_t size_bytes,
                                   const CommitOptions& options) {
  LM_CHECK(impl_->check_writable());
  return impl_->blobs().commit_partial(digest, size_bytes, options);
}

Result<std::optional<std::string>> Store::value(std::string_view key) const {
  return impl_->read_index([&](Index&) -> Result<std::optional<std::string>> {
    if (!impl_->disk) {
      return std::nullopt;
    }
    return impl_->disk->value(key);
  });
}

Result<void> Store::set_value(std::string_view key, std::string_view value) {
  LM_CHECK(impl_->check_writable());
  return impl_->read_index([&](Index&) -> Result<void> {
    if (!impl_->disk) {
      return {};
    }
    return impl_->disk->casually([&](Index& index) { return index.set_value(key, value); });
  });
}

}  // namespace lm::store
