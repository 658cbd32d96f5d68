#include "registry/pull.h"

#include <algorithm>
#include <ctime>
#include <exception>
#include <new>

#include <fmt/format.h>
#include <sys/statvfs.h>

#include "registry/ascii.h"
#include "registry/download.h"
#include "registry/hub_client.h"
#include "registry/pull_plan.h"

namespace lm::registry {
namespace {

constexpr std::size_t kMaxLicenseBytes = 256 << 10;
constexpr std::uint64_t kReserveBytes = std::uint64_t{1} << 30;

/// One pull, from its name to the manifest.
class Puller {
 public:
  Puller(store::Store& store, const HubSettings& settings, const ModelRef& ref,
         const PullOptions& options, const Inspect& inspect,
         const std::function<void(const PullEvent&)>& sink, const std::atomic<bool>& stop)
      : store_(store),
        settings_(settings),
        ref_(ref),
        options_(options),
        inspect_(inspect),
        sink_(sink),
        http_(settings, stop,
              [this](const Error& error, std::chrono::milliseconds wait) {
                if (wait >= std::chrono::milliseconds(500)) {
                  status(fmt::format("{}; trying again in {} s", error.problem,
                                     std::chrono::ceil<std::chrono::seconds>(wait).count()));
                }
              }),
        hub_(http_, [this](std::string text) { warn(std::move(text)); }) {}

  Result<PullResult> run();

 private:
  Result<void> check_start();
  Result<PullPlan> plan();
  Result<PullResult> run_repo(const PullPlan& plan);
  Result<PullResult> run_url();
  Result<void> check_space(const std::vector<store::Journal>& files);
  Result<store::Layer> fetch(const DownloadSource& source, store::LayerKind kind,
                             PullResult& result);
  Result<void> finish(store::Manifest manifest, PullResult& result);
  Result<std::vector<std::string>> licenses(const PullPlan& plan);
  DownloadSource source_of(const PullPlan& plan, const RepoFile& file);
  bool is_current(const PullPlan& plan, const store::Manifest& manifest) const;
  bool layers_are_there(const store::Manifest& manifest) const;
  PullResult current(const store::Manifest& manifest, PullResult result);

  void status(std::string text) {
    emit({.kind = PullEvent::Kind::status, .text = std::move(text)});
  }
  void warn(std::string text) { emit({.kind = PullEvent::Kind::warning, .text = std::move(text)}); }
  void emit(const PullEvent& event) {
    if (sink_) {
      sink_(event);
    }
  }

  store::Store& store_;
  const HubSettings& settings_;
  const ModelRef& ref_;
  const PullOptions& options_;
  const Inspect& inspect_;
  const std::function<void(const PullEvent&)>& sink_;
  HttpClient http_;
  HubClient hub_;
};

Result<void> Puller::check_start() {
  if (options_.connections > 16) {
    return std::unexpected(
        Error{.code = ErrorCode::invalid_argument,
              .subject = "--connections",
              .problem = fmt::format("got {}, expected 1 to 16", options_.connections),
              .hint = "leave it out for the automatic number"});
  }
  if (settings_.offline) {
    return std::unexpected(Error{.code = ErrorCode::offline,
                                 .subject = ref_.url.empty() ? ref_.shortest() : ref_.url,
                                 .problem = "LM_OFFLINE or HF_HUB_OFFLINE forbids every request",
                                 .hint = "unset the variable to fetch models"});
  }
  LM_TRY(const Url endpoint, Url::parse(settings_.endpoint));
  if (!options_.dry_run && !store_.is_writable()) {
    return std::unexpected(Error{.code = ErrorCode::read_only,
                                 .subject = store_.home().string(),
                                 .problem = "the store can't be written",
                                 .hint = "set LM_HOME to a folder you may write"});
  }
  const bool usual = endpoint.host == "huggingface.co" || endpoint.host == "hf.co";
  if (!settings_.token.empty() && !usual && !endpoint.is_loopback()) {
    warn(fmt::format("the token from {} is sent to {} (HF_ENDPOINT)", settings_.token_source,
                     endpoint.for_display()));
  }
  return {};
}

Result<PullPlan> Puller::plan() {
  LM_TRY(const Catalog catalog, Catalog::load(store_.home()));
  LM_TRY(const std::vector<Candidate> candidates, candidates_for(catalog, ref_, options_));
  std::optional<Error> first;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    auto plan = plan_repo(hub_, ref_, candidates[i], options_);
    const bool refused = !plan && (plan.error().code == ErrorCode::not_found ||
                                   plan.error().code == ErrorCode::gated ||
                                   plan.error().code == ErrorCode::unauthorized);
    if (plan || !refused) {
      return plan;
    }
    if (i + 1 < candidates.size()) {
      warn(fmt::format("{}: {}; trying {}", candidates[i].repo, plan.error().problem,
                       candidates[i + 1].repo));
    }
    if (!first) {
      first = std::move(plan).error();
    }
  }
  return std::unexpected(*first);
}

bool Puller::layers_are_there(const store::Manifest& manifest) const {
  return std::all_of(manifest.layers.begin(), manifest.layers.end(),
                     [&](const store::Layer& layer) {
                       std::error_code error;
                       return store_.has_blob(layer.digest) &&
                              (std::filesystem::file_size(store_.blob_path(layer.digest), error) ==
                                   layer.size_bytes ||
                               error);
                     });
}

bool Puller::is_current(const PullPlan& plan, const store::Manifest& manifest) const {
  if (manifest.layers.size() != plan.files.size() || !layers_are_there(manifest)) {
    return false;
  }
  for (std::size_t i = 0; i < plan.files.size(); ++i) {
    const PlannedFile& file = plan.files[i];
    if (manifest.layers[i].kind != file.kind || manifest.layers[i].digest != file.file.digest) {
      return false;
    }
  }
  return true;
}

PullResult Puller::current(const store::Manifest& manifest, PullResult result) {
  result.name = manifest.name;
  result.already_current = true;
  if (const auto entries = store_.list(manifest.name)) {
    for (const store::ModelEntry& entry : *entries) {
      result.id = equal_ignoring_case(entry.name, manifest.name) ? entry.id : result.id;
    }
  }
  status("already up to date");
  emit({.kind = PullEvent::Kind::done, .text = "success"});
  return result;
}

/// hub-protocol.md 10: missing bytes + max(1 GiB, 1 %) must be free before the first byte.
Result<void> Puller::check_space(const std::vector<store::Journal>& files) {
  std::uint64_t missing = 0;
  for (const store::Journal& file : files) {
    missing += file.size_bytes - bytes_already_there(store_, file);
  }
  struct statvfs disk{};
  if (missing == 0 || ::statvfs(store_.home().c_str(), &disk) != 0) {
    return {};
  }
  const std::uint64_t free = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  const std::uint64_t reserve = std::max(kReserveBytes, missing / 100);
  if (missing <= free && reserve <= free - missing) {
    return {};
  }
  return std::unexpected(
      Error{.code = ErrorCode::no_space,
            .subject = store_.home().string(),
            .problem = fmt::format("{} bytes are needed and {} kept in reserve, {} are free",
                                   missing, reserve, free),
            .hint = "make room, for example by lm rm, or set LM_HOME to another disk"});
}

Result<store::Layer> Puller::fetch(const DownloadSource& source, store::LayerKind kind,
                                   PullResult& result) {
  PullEvent event{.kind = PullEvent::Kind::file_started,
                  .text = {},
                  .digest = source.identity.sha256 ? source.identity.sha256->text() : "",
                  .file_name = source.file_name,
                  .total_bytes = source.identity.size_bytes};
  emit(event);
  event.kind = PullEvent::Kind::progress;
  const DownloadObserver observer{.progress =
                                      [&](std::uint64_t completed) {
                                        event.completed_bytes =
                                            std::max(event.completed_bytes, completed);
                                        emit(event);
                                      },
                                  .status = [&](std::string text) { status(std::move(text)); },
                                  .warning = [&](std::string text) { warn(std::move(text)); }};
  LM_TRY(const DownloadResult downloaded,
         download_file(store_, http_, source,
                       {.connections = options_.connections, .limit_rate = options_.limit_rate},
                       observer));
  result.fetched_bytes += downloaded.fetched_bytes;
  return store::Layer{.kind = kind,
                      .digest = downloaded.digest,
                      .size_bytes = downloaded.size_bytes,
                      .file_name = source.file_name,
                      .lease = downloaded.lease};
}

DownloadSource Puller::source_of(const PullPlan& plan, const RepoFile& file) {
  DownloadSource source;
  source.file_name = file.path;
  source.identity.repo = plan.repo.id;
  source.identity.commit = plan.repo.commit;
  source.identity.path = file.path;
  source.identity.model = plan.name;
  source.identity.size_bytes = file.size_bytes;
  source.identity.sha256 = file.digest;
  source.resolve = [this, repo = plan.repo, path = file.path] {
    return hub_.resolve(repo.id, repo.commit, path);
  };
  return source;
}

/// Texts of LICENSE files, else the identifier of the model card. What can't be had is told, not
/// fatal.
Result<std::vector<std::string>> Puller::licenses(const PullPlan& plan) {
  std::vector<std::string> texts;
  for (const std::string& path : plan.license_paths) {
    auto text = hub_.text(plan.repo.id, plan.repo.commit, path, kMaxLicenseBytes);
    if (text) {
      texts.push_back(std::move(*text));
    } else if (text.error().code == ErrorCode::interrupted) {
      return std::unexpected(text.error());
    } else {
      warn(fmt::format("{}: {}", path, text.error().problem));
    }
  }
  if (texts.empty() && !plan.repo.license.empty()) {
    texts.push_back(plan.repo.license);
  }
  return texts;
}

/// Step 5 of the store's order: everything is in, the manifest makes it a model.
Result<void> Puller::finish(store::Manifest manifest, PullResult& result) {
  status("verifying sha256 digest");
  if (inspect_) {
    std::vector<std::filesystem::path> paths;
    for (const store::Layer& layer : manifest.layers) {
      if (layer.kind == store::LayerKind::model) {
        paths.push_back(store_.blob_path(layer.digest));
      }
    }
    LM_TRY(const GgufSummary summary, inspect_(paths));
    manifest.architecture = summary.architecture;
    manifest.quantization = summary.quantization.empty() ? result.label : summary.quantization;
    manifest.parameter_count = summary.parameter_count;
  }
  manifest.modified_unix = std::time(nullptr);
  status("writing manifest");
  LM_TRY(result.id, store_.put(manifest));
  result.name = manifest.name;
  emit({.kind = PullEvent::Kind::done, .text = "success"});
  return {};
}

Result<PullResult> Puller::run_repo(const PullPlan& plan) {
  PullResult result{.name = plan.name,
                    .id = {},
                    .repo = plan.repo.id,
                    .commit = plan.repo.commit,
                    .label = plan.label,
                    .files = {},
                    .total_bytes = plan.total_bytes};
  std::vector<DownloadSource> sources;
  std::vector<store::Journal> identities;
  for (const PlannedFile& planned : plan.files) {
    result.files.push_back(planned.file.path);
    sources.push_back(source_of(plan, planned.file));
    if (!planned.file.digest) {
      // A GGUF kept in git itself: no SHA-256 is announced, so its address and ETag tie the parts
      // together.
      LM_TRY(const Resolved resolved, sources.back().resolve());
      LM_TRY(const Url address,
             hub_.resolve_address(plan.repo.id, plan.repo.commit, planned.file.path));
      sources.back().identity.url = address.for_display();
      sources.back().identity.etag = resolved.identity;
    }
    identities.push_back(sources.back().identity);
  }
  if (!plan.note.empty()) {
    status(plan.note);
  }
  if (const auto manifest = store_.find(plan.name); manifest && is_current(plan, *manifest)) {
    return current(*manifest, std::move(result));
  }
  if (options_.dry_run) {
    return result;
  }
  LM_CHECK(check_space(identities));
  store::Manifest manifest;
  manifest.name = plan.name;
  manifest.source_repo = plan.repo.id;
  manifest.source_commit = plan.repo.commit;
  manifest.source_path = plan.files.front().file.path;
  manifest.source_url = settings_.endpoint;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    LM_TRY(store::Layer layer, fetch(sources[i], plan.files[i].kind, result));
    manifest.layers.push_back(std::move(layer));
  }
  LM_TRY(manifest.licenses, licenses(plan));
  LM_CHECK(finish(std::move(manifest), result));
  return result;
}

Result<PullResult> Puller::run_url() {
  LM_TRY(const Url url, Url::parse(ref_.url));
  LM_TRY(const Resolved resolved, hub_.resolve_url(url));
  const std::string address = url.for_display();
  if (resolved.content_type.starts_with("text/html") || !resolved.size_bytes) {
    return std::unexpected(
        Error{.code = ErrorCode::protocol,
              .subject = address,
              .problem = resolved.size_bytes ? "the answer is a web page, not a file"
                                             : "the server doesn't say how long the file is",
              .hint = "open the address in a browser and copy the one the download starts from"});
  }
  DownloadSource source;
  source.file_name = url.path.substr(url.path.rfind('/') + 1);
  source.identity.url = address;
  source.identity.path = source.file_name;
  source.identity.etag = resolved.identity;
  source.identity.model = ref_.shortest();
  source.identity.size_bytes = *resolved.size_bytes;
  source.identity.sha256 = resolved.digest;
  source.resolve = [this, url] { return hub_.resolve_url(url); };
  PullResult result{.name = ref_.shortest(),
                    .id = {},
                    .repo = {},
                    .commit = {},
                    .label = {},
                    .files = {source.file_name},
                    .total_bytes = *resolved.size_bytes};
  store::Manifest manifest;
  manifest.name = ref_.shortest();
  manifest.source_path = source.file_name;
  manifest.source_url = address;
  // The validator stands where a repository has its commit: it says whether the file is still the
  // same.
  manifest.source_commit = resolved.identity;
  if (const auto old = store_.find(manifest.name)) {
    if (old->source_url != address) {
      return std::unexpected(
          Error{.code = ErrorCode::already_exists,
                .subject = manifest.name,
                .problem = "another model has this name",
                .hint = fmt::format("give that one another name: lm cp {0} NEW && lm rm {0}",
                                    manifest.name)});
    }
    if (!resolved.identity.empty() && old->source_commit == resolved.identity &&
        old->size_bytes() == *resolved.size_bytes && layers_are_there(*old)) {
      return current(*old, std::move(result));
    }
  }
  if (options_.dry_run) {
    return result;
  }
  LM_CHECK(check_space({source.identity}));
  LM_TRY(store::Layer layer, fetch(source, store::LayerKind::model, result));
  manifest.layers.push_back(std::move(layer));
  LM_CHECK(finish(std::move(manifest), result));
  return result;
}

Result<PullResult> Puller::run() {
  LM_CHECK(check_start());
  status("pulling manifest");
  if (!ref_.url.empty()) {
    return run_url();
  }
  LM_TRY(const PullPlan planned, plan());
  return run_repo(planned);
}

}  // namespace

Result<PullResult> pull(store::Store& store, const HubSettings& settings, const ModelRef& ref,
                        const PullOptions& options, const Inspect& inspect,
                        const std::function<void(const PullEvent&)>& sink,
                        const std::atomic<bool>& stop) {
  try {
    Puller puller(store, settings, ref, options, inspect, sink, stop);
    return puller.run();
  } catch (const std::bad_alloc&) {
    return std::unexpected(Error{.code = ErrorCode::limit_exceeded,
                                 .subject = ref.model,
                                 .problem = "not enough memory",
                                 .hint = "run the same command to continue"});
  } catch (const std::exception& error) {
    return std::unexpected(
        Error{.code = ErrorCode::protocol, .subject = ref.model, .problem = error.what()});
  }
}

}  // namespace lm::registry
