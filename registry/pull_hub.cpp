// Pulls from the hub: revision, tree, resolve.
#include <algorithm>

#include <fmt/format.h>

#include "registry/pull_run.h"

namespace lm::registry {
namespace {

constexpr std::size_t kMaxLicenseBytes = 256 << 10;

}  // namespace

Result<PullPlan> PullRun::plan() {
  LM_TRY(const Catalog catalog, Catalog::load(store_.home()));
  LM_TRY(const std::vector<Candidate> candidates, candidates_for(catalog, ref_, options_));
  std::optional<Error> first;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    auto plan = settings_.offline ? plan_cached(cache_, ref_, candidates[i], options_)
                                  : plan_repo(hub_, ref_, candidates[i], options_);
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
  if (settings_.offline && first->code == ErrorCode::not_found) {
    first->code = ErrorCode::offline;
    first->problem = "LM_OFFLINE or HF_HUB_OFFLINE forbids every request, and " + first->problem;
  }
  return std::unexpected(*first);
}

bool PullRun::is_current(const PullPlan& plan, const store::Manifest& manifest) const {
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

DownloadSource PullRun::source_of(const PullPlan& plan, const RepoFile& file) {
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
Result<std::vector<std::string>> PullRun::licenses(const PullPlan& plan) {
  std::vector<std::string> texts;
  for (const std::string& path : plan.license_paths) {
    if (plan.cached) {
      texts.push_back(HfCache::text(*plan.cached, path, kMaxLicenseBytes));
      continue;
    }
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

Result<PullResult> PullRun::run_repo(const PullPlan& plan) {
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
    if (!planned.file.digest && planned.local.empty()) {
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
  manifest.source_revision = options_.revision;
  manifest.source_url = settings_.endpoint;
  keep_additions(manifest);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    LM_TRY(store::Layer layer, fetch(sources[i], plan.files[i].kind, result, plan.files[i].local));
    manifest.layers.push_back(std::move(layer));
  }
  LM_TRY(manifest.licenses, licenses(plan));
  LM_CHECK(finish(std::move(manifest), result));
  return result;
}

}  // namespace lm::registry
