#include "registry/mend.h"

#include <algorithm>
#include <exception>
#include <new>

#include <fmt/format.h>

#include "registry/download.h"
#include "registry/hub_client.h"
#include "registry/oci_client.h"
#include "store/file_ops.h"

namespace lm::registry {
namespace {

Error no_source(const store::Manifest& manifest, std::string problem) {
  return {.code = ErrorCode::not_found,
          .subject = manifest.name,
          .problem = std::move(problem),
          .hint = "make it again from the file it came from: lm create, lm import or lm pull"};
}

/// One repair: finds the layer's bytes, keeps what is good, fetches the rest.
class Mender {
 public:
  Mender(store::Store& store, const HubSettings& settings, const store::Manifest& manifest,
         const store::Layer& layer, const std::function<void(const PullEvent&)>& sink,
         const std::atomic<bool>& stop)
      : store_(store),
        settings_(settings),
        manifest_(manifest),
        layer_(layer),
        sink_(sink),
        http_(settings, stop, {}),
        hub_(http_, [this](std::string text) {
          emit({.kind = PullEvent::Kind::warning, .text = std::move(text)});
        }) {}

  Result<std::uint64_t> run() {
    if (settings_.offline) {
      return std::unexpected(Error{.code = ErrorCode::offline,
                                   .subject = manifest_.name,
                                   .problem = "LM_OFFLINE or HF_HUB_OFFLINE forbids every request",
                                   .hint = "unset the variable to repair the model"});
    }
    LM_TRY(const DownloadSource source, find_source());
    PullEvent event{.kind = PullEvent::Kind::file_started,
                    .text = {},
                    .digest = layer_.digest.text(),
                    .file_name = source.file_name,
                    .total_bytes = layer_.size_bytes};
    emit(event);
    event.kind = PullEvent::Kind::progress;
    const DownloadObserver observer{
        .progress =
            [&](std::uint64_t completed) {
              event.completed_bytes = std::max(event.completed_bytes, completed);
              emit(event);
            },
        .status =
            [this](std::string text) {
              emit({.kind = PullEvent::Kind::status, .text = std::move(text)});
            },
        .warning =
            [this](std::string text) {
              emit({.kind = PullEvent::Kind::warning, .text = std::move(text)});
            }};
    LM_TRY(const DownloadResult done,
           download_file(store_, http_, source, {.replace = true}, observer));
    // A pull leaves this to its manifest; here nothing follows.
    const std::filesystem::path journal = store_.journal_path(layer_.digest);
    LM_TRY(const store::Folder partial, store::open_folder(journal.parent_path(), false));
    LM_CHECK(store::remove_file(partial, journal.filename().string()));
    return done.fetched_bytes;
  }

 private:
  void emit(const PullEvent& event) {
    if (sink_) {
      sink_(event);
    }
  }

  DownloadSource source_template() const {
    DownloadSource source;
    source.file_name = layer_.file_name;
    source.identity.model = manifest_.name;
    source.identity.size_bytes = layer_.size_bytes;
    source.identity.sha256 = layer_.digest;
    return source;
  }

  Result<DownloadSource> find_source() {
    if (manifest_.source_url.find("/v2/") != std::string::npos &&
        manifest_.source_url.find("/manifests/") != std::string::npos) {
      return find_in_registry();
    }
    if (!manifest_.source_repo.empty()) {
      auto found = find_in_repo(manifest_.source_repo, manifest_.source_commit);
      if (!found && found.error().code == ErrorCode::not_found) {
        // The commit may be gone; the same bytes may still be in a later one.
        found = find_in_repo(manifest_.source_repo, "");
      }
      return found;
    }
    if (!manifest_.source_url.empty()) {
      return find_at_url();
    }
    if (const auto ref = ModelRef::parse(manifest_.name); ref && ref->is_hub()) {
      return find_in_repo(ref->repo(), "");
    }
    return std::unexpected(no_source(manifest_, "it came from no hub, so nothing can be fetched"));
  }

  /// The file with the layer's digest, whatever it is called now.
  Result<DownloadSource> find_in_repo(const std::string& repo, std::string commit) {
    if (commit.empty()) {
      LM_TRY(const RepoInfo info, hub_.info(repo, "main"));
      commit = info.commit;
    }
    LM_TRY(const std::vector<RepoFile> files, hub_.tree(repo, commit));
    const auto by_digest = std::ranges::find_if(
        files, [&](const RepoFile& file) { return file.digest == layer_.digest; });
    // A file kept in git itself has no digest in the tree; the download checks it.
    const auto found = by_digest != files.end()
                           ? by_digest
                           : std::ranges::find_if(files, [&](const RepoFile& file) {
                               return !file.digest && file.path == layer_.file_name &&
                                      file.size_bytes == layer_.size_bytes;
                             });
    if (found == files.end()) {
      return std::unexpected(no_source(
          manifest_,
          fmt::format("{} has no file with the digest {} any more", repo, layer_.digest.hex())));
    }
    DownloadSource source = source_template();
    source.file_name = found->path;
    source.identity.repo = repo;
    source.identity.commit = commit;
    source.identity.path = found->path;
    source.resolve = [this, repo, commit, path = found->path] {
      return hub_.resolve(repo, commit, path);
    };
    return source;
  }

  /// A registry serves every layer by its digest.
  Result<DownloadSource> find_in_registry() {
    LM_TRY(const ModelRef ref, ModelRef::parse(manifest_.source_path));
    LM_TRY(Url base, registry_address(settings_, ref));
    registry_.emplace(http_, std::move(base), ref.repo());
    DownloadSource source = source_template();
    source.identity.repo = ref.repo();
    source.identity.path = layer_.digest.text();
    source.resolve = [this] {
      return registry_->resolve({.digest = layer_.digest, .size_bytes = layer_.size_bytes});
    };
    return source;
  }

  Result<DownloadSource> find_at_url() {
    LM_TRY(const Url url, Url::parse(manifest_.source_url));
    LM_TRY(const Resolved resolved, hub_.resolve_url(url));
    const bool other = !resolved.identity.empty() && !manifest_.source_commit.empty() &&
                       resolved.identity != manifest_.source_commit;
    if (other || resolved.size_bytes != layer_.size_bytes) {
      return std::unexpected(
          no_source(manifest_, fmt::format("{} serves another file by now", url.for_display())));
    }
    DownloadSource source = source_template();
    source.identity.url = url.for_display();
    source.identity.etag = resolved.identity;
    source.resolve = [this, url] { return hub_.resolve_url(url); };
    return source;
  }

  store::Store& store_;
  const HubSettings& settings_;
  const store::Manifest& manifest_;
  const store::Layer& layer_;
  const std::function<void(const PullEvent&)>& sink_;
  HttpClient http_;
  HubClient hub_;
  std::optional<OciClient> registry_;
};

}  // namespace

Result<std::uint64_t> mend_blob(store::Store& store, const HubSettings& settings,
                                const store::Manifest& manifest, const store::Layer& layer,
                                const std::function<void(const PullEvent&)>& sink,
                                const std::atomic<bool>& stop) {
  try {
    return Mender(store, settings, manifest, layer, sink, stop).run();
  } catch (const std::bad_alloc&) {
    return std::unexpected(Error{.code = ErrorCode::limit_exceeded,
                                 .subject = manifest.name,
                                 .problem = "not enough memory",
                                 .hint = "run the same command to continue"});
  } catch (const std::exception& error) {
    return std::unexpected(
        Error{.code = ErrorCode::protocol, .subject = manifest.name, .problem = error.what()});
  }
}

}  // namespace lm::registry
