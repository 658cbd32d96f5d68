#include "registry/pull.h"

#include <algorithm>
#include <ctime>
#include <exception>
#include <new>

#include <fmt/format.h>
#include <sys/statvfs.h>

#include "registry/ascii.h"
#include "registry/pull_run.h"

namespace lm::registry {
namespace {

constexpr std::uint64_t kReserveBytes = std::uint64_t{1} << 30;

}  // namespace

PullRun::PullRun(store::Store& store, const HubSettings& settings, const ModelRef& ref,
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
      hub_(http_, [this](std::string text) { warn(std::move(text)); }),
      cache_(settings.hf_cache) {}

Result<void> PullRun::check_start() {
  if (options_.connections > 16) {
    return std::unexpected(
        Error{.code = ErrorCode::invalid_argument,
              .subject = "--connections",
              .problem = fmt::format("got {}, expected 1 to 16", options_.connections),
              .hint = "leave it out for the automatic number"});
  }
  const bool may_be_cached = ref_.url.empty() && !ref_.is_registry();
  if (settings_.offline && !may_be_cached) {
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

bool PullRun::layers_are_there(const store::Manifest& manifest) const {
  return std::all_of(manifest.layers.begin(), manifest.layers.end(),
                     [&](const store::Layer& layer) {
                       std::error_code error;
                       return store_.has_blob(layer.digest) &&
                              (std::filesystem::file_size(store_.blob_path(layer.digest), error) ==
                                   layer.size_bytes ||
                               error);
                     });
}

PullResult PullRun::current(const store::Manifest& manifest, PullResult result) {
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
Result<void> PullRun::check_space(const std::vector<store::Journal>& files) {
  std::uint64_t missing = 0;
  for (const store::Journal& file : files) {
    if (!cached_path(file).empty()) {
      continue;  // linked, not written
    }
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

/// Where the hub's cache claims to have these bytes; empty: nowhere.
std::filesystem::path PullRun::cached_path(const store::Journal& identity) const {
  if (!identity.sha256 || store_.has_blob(*identity.sha256)) {
    return {};
  }
  return cache_.find(identity.repo, *identity.sha256, identity.size_bytes)
      .value_or(std::filesystem::path());
}

Result<std::optional<store::Layer>> PullRun::take_cached(const DownloadSource& source,
                                                         store::LayerKind kind,
                                                         const std::filesystem::path& local) {
  const std::filesystem::path path = local.empty() ? cached_path(source.identity) : local;
  if (path.empty()) {
    return std::nullopt;
  }
  status(fmt::format("{} is in the hub's cache; checking it", source.file_name));
  PullEvent event{.kind = PullEvent::Kind::progress,
                  .text = {},
                  .digest = source.identity.sha256 ? source.identity.sha256->text() : "",
                  .file_name = source.file_name,
                  .total_bytes = source.identity.size_bytes};
  store::AdoptOptions how;
  how.digest = source.identity.sha256;
  how.progress = [&](std::uint64_t done, std::uint64_t) {
    event.completed_bytes = std::max(event.completed_bytes, done);
    emit(event);
    return !http_.stop();
  };
  auto adopted = store_.adopt_file(path, how);
  if (!adopted && adopted.error().code == ErrorCode::interrupted) {
    return std::unexpected(interrupted_error());
  }
  if (!adopted && settings_.offline) {
    return std::unexpected(adopted.error());
  }
  if (!adopted) {
    warn(fmt::format("{}: {}; fetching it instead", path.native(), adopted.error().problem));
    return std::nullopt;
  }
  if (source.identity.sha256) {
    drop_partial(store_, *source.identity.sha256);
  }
  event.completed_bytes = event.total_bytes;
  emit(event);
  adopted->layer.kind = kind;
  adopted->layer.file_name = source.file_name;
  return std::optional(std::move(adopted->layer));
}

Result<store::Layer> PullRun::fetch(const DownloadSource& source, store::LayerKind kind,
                                    PullResult& result, const std::filesystem::path& local) {
  PullEvent event{.kind = PullEvent::Kind::file_started,
                  .text = {},
                  .digest = source.identity.sha256 ? source.identity.sha256->text() : "",
                  .file_name = source.file_name,
                  .total_bytes = source.identity.size_bytes};
  emit(event);
  LM_TRY(std::optional<store::Layer> cached, take_cached(source, kind, local));
  if (cached) {
    result.cached_bytes += cached->size_bytes;
    return std::move(*cached);
  }
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

void PullRun::keep_additions(store::Manifest& manifest) const {
  if (options_.store_as.empty()) {
    return;
  }
  if (const auto old = store_.find(options_.store_as)) {
    manifest.parameters = old->parameters;
    manifest.system = old->system;
    manifest.chat_template = old->chat_template;
    manifest.messages = old->messages;
  }
}

/// Step 5 of the store's order: everything is in, the manifest makes it a model.
Result<void> PullRun::finish(store::Manifest manifest, PullResult& result) {
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
    if (summary.has_chat_template && !manifest.chat_template.empty()) {
      // The file's own Jinja says more than a registry's Go template can.
      manifest.registry_template = std::move(manifest.chat_template);
      manifest.chat_template.clear();
    }
  }
  manifest.modified_unix = std::time(nullptr);
  status("writing manifest");
  LM_TRY(result.id, store_.put(manifest));
  result.name = manifest.name;
  emit({.kind = PullEvent::Kind::done, .text = "success"});
  return {};
}

Result<PullResult> PullRun::run() {
  LM_CHECK(check_start());
  status("pulling manifest");
  if (!ref_.url.empty()) {
    return run_url();
  }
  if (ref_.is_registry()) {
    return run_oci();
  }
  LM_TRY(const PullPlan planned, plan());
  return run_repo(planned);
}

Result<PullResult> pull(store::Store& store, const HubSettings& settings, const ModelRef& ref,
                        const PullOptions& options, const Inspect& inspect,
                        const std::function<void(const PullEvent&)>& sink,
                        const std::atomic<bool>& stop) {
  try {
    PullRun run(store, settings, ref, options, inspect, sink, stop);
    return run.run();
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
