#include "registry/choose_file.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "registry/ascii.h"
#include "registry/quant_label.h"

namespace lm::registry {
namespace {

constexpr std::uint64_t kMaxVocabBytes = 50'000'000;
constexpr int kMaxShards = 256;  // layers of a manifest

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}
std::string_view folder(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == path.npos ? std::string_view{} : path.substr(0, slash);
}
auto depth(std::string_view path) {
  return std::count(path.begin(), path.end(), '/');
}

/// "name-00002-of-00005.gguf" -> {"name", 2, 5}.
struct Shard {
  std::string prefix;
  int index = 0;
  int count = 0;
};

std::optional<Shard> shard_of(std::string_view name) {
  constexpr std::string_view kForm = "-00000-of-00000.gguf";
  if (name.size() < kForm.size()) {
    return std::nullopt;
  }
  const std::string_view end = name.substr(name.size() - kForm.size());
  Shard shard;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = end[i] >= '0' && end[i] <= '9';
    if (kForm[i] == '0' ? !digit : ascii_lower(end[i]) != kForm[i]) {
      return std::nullopt;
    }
  }
  std::from_chars(end.data() + 1, end.data() + 6, shard.index);
  std::from_chars(end.data() + 10, end.data() + 15, shard.count);
  shard.prefix = std::string(name.substr(0, name.size() - kForm.size()));
  return shard;
}

std::string gigabytes(std::uint64_t bytes) {
  return bytes >= 10'000'000 ? fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9)
                             : fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

std::string shown(const ModelCandidate& model) {
  return fmt::format("{} ({})",
                     model.label.empty() ? std::string(base_name(model.path())) : model.label,
                     gigabytes(model.size_bytes));
}

/// All labels with sizes, smallest first, for messages.
std::string list_of(const Candidates& candidates) {
  std::vector<ModelCandidate> models = candidates.models;
  std::sort(models.begin(), models.end(), [](const auto& a, const auto& b) {
    return std::tie(a.size_bytes, a.path()) < std::tie(b.size_bytes, b.path());
  });
  std::string text;
  std::size_t count = 0;
  for (const ModelCandidate& model : models) {
    if (++count > 60) {
      text += ", ...";
      break;
    }
    text += (text.empty() ? "" : ", ") + shown(model);
  }
  return text;
}

/// Case folded and '-' like '_': how tags compare.
std::string folded(std::string_view text) {
  std::string out = to_lower(text);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

/// Single files before shards, root before folders, shorter paths first, then byte order.
bool preferred(const ModelCandidate& a, const ModelCandidate& b) {
  const auto key = [](const ModelCandidate& m) {
    return std::tuple(m.files.size() > 1, depth(m.path()), m.path().size(), m.path());
  };
  return key(a) < key(b);
}

using Hits = std::vector<const ModelCandidate*>;

/// The best of several hits, with a note that names it.
Choice pick(const Hits& hits) {
  const ModelCandidate* best = *std::min_element(
      hits.begin(), hits.end(), [](const auto* a, const auto* b) { return preferred(*a, *b); });
  Choice choice{.model = *best};
  if (hits.size() > 1) {
    choice.note = fmt::format("{} files match; took {}", hits.size(), best->path());
  }
  return choice;
}

template <class Predicate>
Hits matching(const Candidates& candidates, Predicate matches) {
  Hits hits;
  for (const ModelCandidate& model : candidates.models) {
    if (matches(model)) {
      hits.push_back(&model);
    }
  }
  return hits;
}

/// Labels beginning with "Q4" for the tag "q4", only when they are all one label.
Result<Hits> prefix_matches(const Candidates& candidates, std::string_view repo,
                            const std::string& tag) {
  Hits hits = matching(candidates, [&](const ModelCandidate& model) {
    const std::string label = folded(model.label);
    return label.size() > tag.size() && label.starts_with(tag) && label[tag.size()] == '_';
  });
  for (const ModelCandidate* hit : hits) {
    if (hit->label != hits.front()->label) {
      return std::unexpected(
          Error{.code = ErrorCode::ambiguous,
                .subject = std::string(repo),
                .problem = fmt::format("the tag '{}' fits several quantisations", tag),
                .hint = fmt::format("name one of: {}", list_of(candidates))});
    }
  }
  return hits;
}

/// Where a candidate without a tag stands: named labels in their order, the rest by bits, 16 bits
/// and more last.
std::tuple<int, int> default_key(const ModelCandidate& model) {
  // An imatrix quantisation of mradermacher ("i1-") stands where its plain label does.
  const std::string_view label =
      model.label.starts_with("i1-") ? without_prefix(model.label) : std::string_view(model.label);
  if (const int rank = default_rank(label); rank >= 0) {
    return {0, rank};
  }
  const int bits = label_bits(model.label);
  if (bits > 8) {
    return {3, bits};
  }
  return model.label.empty() ? std::tuple(2, 0) : std::tuple(1, -bits);
}

Result<void> check_any(const Candidates& candidates, std::string_view repo) {
  if (!candidates.models.empty()) {
    return {};
  }
  Error error{.code = ErrorCode::not_found, .subject = std::string(repo), .problem = {}};
  if (!candidates.incomplete.empty()) {
    error.problem = fmt::format("its split model {} lacks shards", candidates.incomplete.front());
    error.hint = "name another repository or an earlier --revision";
  } else if (!candidates.unsupported.empty()) {
    error.code = ErrorCode::unsupported;
    error.problem = fmt::format("{} is split in an old way that is not GGUF's own",
                                candidates.unsupported.front());
    error.hint = "name another repository of the same model";
  } else {
    error.problem = "it has no GGUF model";
    error.hint = "look for a repository whose name ends in GGUF";
  }
  return std::unexpected(error);
}

/// Rule 6: same folder or nearest parent; F16 before BF16, Q8_0 and F32.
std::optional<RepoFile> choose_projector(const Candidates& candidates,
                                         const ModelCandidate& model) {
  const RepoFile* best = nullptr;
  std::tuple<long, int, std::size_t, std::string> best_key;
  const std::string_view home = folder(model.path());
  for (const RepoFile& projector : candidates.projectors) {
    const std::string_view place = folder(projector.path);
    const bool above =
        place.empty() || place == home || (home.starts_with(place) && home[place.size()] == '/');
    // "vision/..." beside a model in the root is the one other place seen.
    const long distance =
        above ? depth(home) + !home.empty() - depth(place) - !place.empty() : 1000 + depth(place);
    constexpr std::string_view kOrder[] = {"F16", "BF16", "Q8_0", "F32"};
    const std::string label = label_of_file(projector.path);
    const auto rank = static_cast<int>(std::find(std::begin(kOrder), std::end(kOrder), label) -
                                       std::begin(kOrder));
    const std::tuple key(distance, rank, projector.path.size(), projector.path);
    if (best == nullptr || key < best_key) {
      best = &projector;
      best_key = key;
    }
  }
  return best == nullptr ? std::nullopt : std::optional(*best);
}

Choice with_projector(Choice choice, const Candidates& candidates) {
  choice.projector = choose_projector(candidates, choice.model);
  return choice;
}

}  // namespace

FileClass classify(const RepoFile& file) {
  const std::string name = to_lower(base_name(file.path));
  const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (!name.ends_with(".gguf")) {
    const bool old_split = has(".gguf-split-") || has(".gguf.part") || has(".gguf_file");
    return old_split ? FileClass::unsupported : FileClass::other;
  }
  if (has("mmproj")) {
    return FileClass::projector;
  }
  if (has("imatrix")) {
    return FileClass::ignored;
  }
  if (has("mtp-") || has("eagle") || has("draft") || has("dflash") || has("dspark-")) {
    return FileClass::draft;
  }
  if (has("vocab") && file.size_bytes < kMaxVocabBytes) {
    return FileClass::ignored;
  }
  if (name.ends_with("-lora.gguf") || has("adapter")) {
    return FileClass::adapter;
  }
  return FileClass::model;
}

Candidates find_candidates(const std::vector<RepoFile>& files) {
  Candidates found;
  // Keyed by folder, prefix and count, so that two splits of one model never mix.
  std::map<std::tuple<std::string, std::string, int>, std::map<int, RepoFile>> splits;
  for (const RepoFile& file : files) {
    switch (classify(file)) {
      case FileClass::projector:
        found.projectors.push_back(file);
        break;
      case FileClass::unsupported:
        found.unsupported.push_back(file.path);
        break;
      case FileClass::model: {
        const auto shard = shard_of(base_name(file.path));
        if (!shard) {
          found.models.push_back(
              {.label = label_of_file(file.path), .files = {file}, .size_bytes = file.size_bytes});
          break;
        }
        splits[{std::string(folder(file.path)), shard->prefix, shard->count}][shard->index] = file;
        break;
      }
      case FileClass::adapter:
      case FileClass::draft:
      case FileClass::ignored:
      case FileClass::other:
        break;
    }
  }
  for (auto& [key, shards] : splits) {
    const int count = std::get<2>(key);
    const bool complete = count >= 1 && count <= kMaxShards &&
                          shards.size() == static_cast<std::size_t>(count) &&
                          shards.begin()->first == 1 && shards.rbegin()->first == count;
    if (!complete) {
      found.incomplete.push_back(shards.begin()->second.path);
      continue;
    }
    ModelCandidate model{.label = label_of_file(shards.begin()->second.path)};
    bool fits = true;
    for (auto& [index, file] : shards) {
      fits = fits && !__builtin_add_overflow(model.size_bytes, file.size_bytes, &model.size_bytes);
      model.files.push_back(std::move(file));
    }
    if (fits) {
      found.models.push_back(std::move(model));
    }
  }
  std::sort(found.models.begin(), found.models.end(),
            [](const auto& a, const auto& b) { return a.path() < b.path(); });
  return found;
}

Result<Choice> choose_by_tag(const std::vector<RepoFile>& files, std::string_view repo,
                             std::string_view tag) {
  const Candidates candidates = find_candidates(files);
  LM_CHECK(check_any(candidates, repo));
  if (tag.empty() || equal_ignoring_case(tag, "latest")) {
    auto best = default_key(candidates.models.front());
    for (const ModelCandidate& model : candidates.models) {
      best = std::min(best, default_key(model));
    }
    return with_projector(
        pick(matching(candidates, [&](const auto& model) { return default_key(model) == best; })),
        candidates);
  }
  const std::string want = folded(tag);
  const std::string label = label_of_text(tag);
  const std::string want_label = folded(label.empty() ? tag : label);
  const auto any_file = [](const ModelCandidate& model, auto test) {
    return std::any_of(model.files.begin(), model.files.end(), test);
  };
  Hits hits = matching(candidates, [&](const ModelCandidate& model) {
    return any_file(model, [&](const RepoFile& f) { return folded(base_name(f.path)) == want; });
  });
  if (hits.empty()) {
    hits = matching(candidates, [&](const ModelCandidate& model) {
      return any_file(
          model, [&](const RepoFile& f) { return folded(base_name(f.path)) == want + ".gguf"; });
    });
  }
  if (hits.empty()) {
    hits = matching(candidates, [&](const auto& m) { return folded(m.label) == want_label; });
  }
  if (hits.empty() && !label.empty()) {
    // Q4_K_M may mean UD-Q4_K_M; who wrote UD- gets nothing else.
    hits = matching(candidates, [&](const ModelCandidate& model) {
      return folded(without_prefix(model.label)) == folded(label);
    });
  }
  if (hits.empty()) {
    LM_TRY(hits, prefix_matches(candidates, repo, want));
  }
  if (hits.empty()) {
    const std::string incomplete =
        candidates.incomplete.empty()
            ? ""
            : fmt::format(" ({} lacks shards)", candidates.incomplete.front());
    return std::unexpected(Error{.code = ErrorCode::not_found,
                                 .subject = std::string(repo),
                                 .problem = fmt::format("no quantisation '{}'{}", tag, incomplete),
                                 .hint = fmt::format("it has: {}", list_of(candidates))});
  }
  return with_projector(pick(hits), candidates);
}

Result<Choice> choose_by_file(const std::vector<RepoFile>& files, std::string_view repo,
                              std::string_view file) {
  const Candidates candidates = find_candidates(files);
  LM_CHECK(check_any(candidates, repo));
  for (const bool exact : {true, false}) {
    const Hits hits = matching(candidates, [&](const ModelCandidate& model) {
      return std::any_of(model.files.begin(), model.files.end(), [&](const RepoFile& f) {
        return exact ? f.path == file : equal_ignoring_case(base_name(f.path), file);
      });
    });
    if (!hits.empty()) {
      return with_projector(pick(hits), candidates);
    }
  }
  return std::unexpected(Error{.code = ErrorCode::not_found,
                               .subject = std::string(repo),
                               .problem = fmt::format("it has no model file '{}'", file),
                               .hint = fmt::format("it has: {}", list_of(candidates))});
}

}  // namespace lm::registry
