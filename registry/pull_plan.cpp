#include "registry/pull_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "registry/ascii.h"
#include "registry/quant_label.h"

namespace lm::registry {
namespace {

constexpr std::size_t kMaxTag = 80;
constexpr std::size_t kMaxLicenseFiles = 4;

/// A file's name as a tag.
std::string tag_of_file(std::string_view path) {
  std::string_view name = path.substr(path.rfind('/') + 1);
  if (ends_with_ignoring_case(name, ".gguf")) {
    name.remove_suffix(5);
  }
  std::string tag;
  for (const char c : name) {
    const bool ok = ascii_alnum(c) || c == '_' || (!tag.empty() && (c == '-' || c == '.'));
    if (ok) {
      tag += c;
    } else if (!tag.empty()) {
      tag += '-';
    }
  }
  tag.resize(std::min(tag.size(), kMaxTag));
  return tag.empty() ? "latest" : tag;
}

bool is_license(std::string_view path) {
  return path.find('/') == path.npos && to_upper(path).starts_with("LICENSE");
}

Error unknown_short_name(const Catalog& catalog, const ModelRef& ref) {
  std::string near;
  for (const std::string& name :
       catalog.nearest(ref.tag.empty() ? ref.model : ref.model + ":" + ref.tag)) {
    near += (near.empty() ? "" : ", ") + name;
  }
  return {.code = ErrorCode::not_found,
          .subject = ref.tag.empty() ? ref.model : ref.model + ":" + ref.tag,
          .problem = "no such model is known",
          .hint = fmt::format("near names: {}; or write hf.co/<user>/<repo>", near)};
}

Result<Choice> choose(const std::vector<RepoFile>& files, const RepoInfo& repo,
                      const Candidate& candidate) {
  if (!candidate.file.empty()) {
    auto choice = choose_by_file(files, repo.id, candidate.file);
    if (choice || !candidate.file_is_hint) {
      return choice;
    }
  }
  return choose_by_tag(files, repo.id, candidate.quant);
}

}  // namespace

Result<std::vector<Candidate>> candidates_for(const Catalog& catalog, const ModelRef& ref,
                                              const PullOptions& options) {
  const ModelRef hub = ref.on_hub();
  if (hub.is_hub()) {
    LM_CHECK(check_repo_id(hub.repo()));
    return std::vector{Candidate{.repo = hub.repo(),
                                 .quant = options.quant.empty() ? ref.tag : options.quant,
                                 .file = options.file,
                                 .file_is_hint = options.file_is_hint}};
  }
  const auto entry = catalog.find(ref);
  if (!entry) {
    return std::unexpected(unknown_short_name(catalog, ref));
  }
  std::vector<Candidate> candidates;
  for (const std::string& repo : entry->repos) {
    Candidate candidate{.repo = repo, .quant = entry->quant, .file = entry->file};
    candidate.file_is_hint = true;
    if (!options.quant.empty() || !options.file.empty()) {
      candidate.quant = options.quant;
      candidate.file = options.file;
      candidate.file_is_hint = false;
    }
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

std::string name_to_store(const ModelRef& ref, const PullOptions& options, const std::string& repo,
                          const ModelCandidate& chosen) {
  if (!options.store_as.empty()) {
    return options.store_as;
  }
  const bool short_name = ref.host.empty() && ref.owner.empty();
  const std::string own_tag = chosen.label.empty() ? tag_of_file(chosen.path()) : chosen.label;
  if (short_name) {
    if (options.quant.empty() && options.file.empty()) {
      return ref.shortest();
    }
    // Another quant than the name's own must not take its place.
    const std::string suffix = to_lower(own_tag);
    std::string tag = ref.tag.empty() ? suffix : ref.tag + "-" + suffix;
    tag.resize(std::min(tag.size(), kMaxTag));
    return ref.model + ":" + tag;
  }
  const std::string typed = options.quant.empty() ? ref.tag : options.quant;
  std::string tag = own_tag;
  if (!options.file.empty() || typed.empty() || equal_ignoring_case(typed, "latest")) {
    tag = chosen.label.empty() && options.file.empty() ? "latest" : own_tag;
  } else if (label_of_text(typed) != chosen.label) {
    tag = tag_of_file(typed);  // as it was typed, so that the same words find it again
    if (ends_with_ignoring_case(typed, ".gguf")) {
      tag = typed;
    }
  }
  tag.resize(std::min(tag.size(), kMaxTag));
  return "hf.co/" + repo + ":" + tag;
}

namespace {

/// Chooses among `files` and fills in everything of `plan` but its repository.
Result<void> plan_files(PullPlan& plan, const std::vector<RepoFile>& files, const ModelRef& ref,
                        const Candidate& candidate, const PullOptions& options) {
  LM_TRY(Choice choice, choose(files, plan.repo, candidate));
  plan.label = choice.model.label;
  plan.note = choice.note;
  plan.name = name_to_store(ref, options, plan.repo.id, choice.model);
  for (RepoFile& file : choice.model.files) {
    plan.files.push_back({store::LayerKind::model, std::move(file)});
  }
  if (choice.projector) {
    plan.files.push_back({store::LayerKind::projector, std::move(*choice.projector)});
  }
  for (const PlannedFile& planned : plan.files) {
    if (__builtin_add_overflow(plan.total_bytes, planned.file.size_bytes, &plan.total_bytes)) {
      return std::unexpected(Error{.code = ErrorCode::protocol,
                                   .subject = plan.repo.id,
                                   .problem = "the sizes of its files don't add up",
                                   .hint = "check HF_ENDPOINT"});
    }
  }
  for (const RepoFile& file : files) {
    if (is_license(file.path) && plan.license_paths.size() < kMaxLicenseFiles) {
      plan.license_paths.push_back(file.path);
    }
  }
  return {};
}

}  // namespace

Result<PullPlan> plan_repo(HubClient& hub, const ModelRef& ref, const Candidate& candidate,
                           const PullOptions& options) {
  PullPlan plan;
  const std::string revision = options.revision.empty() ? "main" : options.revision;
  LM_TRY(plan.repo, hub.info(candidate.repo, revision));
  const std::string page = fmt::format("{}/{}", hub.http().settings().endpoint, plan.repo.id);
  if (plan.repo.disabled) {
    return std::unexpected(Error{.code = ErrorCode::unauthorized,
                                 .subject = plan.repo.id,
                                 .problem = "the hub has disabled the repository",
                                 .hint = "name another repository of the same model"});
  }
  if (plan.repo.gated && !hub.http().sends_token()) {
    return std::unexpected(
        Error{.code = ErrorCode::gated,
              .subject = plan.repo.id,
              .problem = "the repository is gated",
              .hint = fmt::format("accept the terms at {} and set HF_TOKEN", page)});
  }
  LM_TRY(const std::vector<RepoFile> files, hub.tree(plan.repo.id, plan.repo.commit));
  LM_CHECK(plan_files(plan, files, ref, candidate, options));
  return plan;
}

Result<PullPlan> plan_cached(const HfCache& cache, const ModelRef& ref, const Candidate& candidate,
                             const PullOptions& options) {
  PullPlan plan;
  LM_TRY(plan.cached, cache.snapshot(candidate.repo, options.revision));
  plan.repo = {.id = plan.cached->repo, .commit = plan.cached->commit};
  LM_CHECK(plan_files(plan, plan.cached->files, ref, candidate, options));
  for (PlannedFile& planned : plan.files) {
    planned.local = plan.cached->folder / planned.file.path;
  }
  return plan;
}

}  // namespace lm::registry
