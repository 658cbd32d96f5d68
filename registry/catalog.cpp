#include "registry/catalog.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "registry/ascii.h"
#include "registry/catalog_data.h"
#include "registry/quant_label.h"

namespace lm::registry {
namespace {

using nlohmann::json;

constexpr std::uintmax_t kMaxAliasBytes = 1 << 20;

std::unexpected<Error> bad_table(const std::string& subject, std::string problem) {
  return std::unexpected(Error{
      .code = ErrorCode::invalid_argument,
      .subject = subject,
      .problem = std::move(problem),
      .hint =
          R"(write {"name:tag": "user/repo:quant", ...} or {"name": {"repo": ..., "file": ...}})"});
}

/// "line 3, column 7" of a byte offset.
std::string position(std::string_view text, std::size_t byte) {
  byte = std::min(byte, text.size());
  const auto before = text.substr(0, byte);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("line {}, column {}", line, byte - start + 1);
}

Result<json> parse_object(const std::string& subject, std::string_view text) {
  try {
    int depth = 0;
    // Two levels are all the format has; deeper nesting never reaches the recursive part of the
    // parser.
    for (const char c : text) {
      depth += c == '{' || c == '[' ? 1 : 0;
      depth -= c == '}' || c == ']' ? 1 : 0;
      if (depth > 16) {
        return bad_table(subject, "it is nested too deeply");
      }
    }
    json value = json::parse(text);
    if (!value.is_object()) {
      return bad_table(subject, "it is no JSON object");
    }
    return value;
  } catch (const json::parse_error& error) {
    return bad_table(subject, fmt::format("it is no JSON: {}",
                                          position(text, error.byte > 0 ? error.byte - 1 : 0)));
  } catch (const json::exception& error) {
    return bad_table(subject, fmt::format("it is no JSON: {}", error.what()));
  }
}

/// Text at `key`; an absent key is empty, another type an error.
Result<std::string> text_at(const json& object, const char* key, const std::string& subject,
                            const std::string& name) {
  const auto it = object.find(key);
  if (it == object.end()) {
    return std::string();
  }
  if (!it->is_string()) {
    return bad_table(subject, fmt::format("'{}' of '{}' is no string", key, name));
  }
  return it->get<std::string>();
}

Result<std::vector<std::string>> texts_at(const json& object, const char* key,
                                          const std::string& subject, const std::string& name) {
  std::vector<std::string> out;
  const auto it = object.find(key);
  if (it == object.end()) {
    return out;
  }
  if (!it->is_array()) {
    return bad_table(subject, fmt::format("'{}' of '{}' is no list", key, name));
  }
  for (const json& item : *it) {
    if (!item.is_string()) {
      return bad_table(subject,
                       fmt::format("'{}' of '{}' holds something that is no string", key, name));
    }
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<CatalogEntry> entry_of(const json& object, const std::string& subject,
                              const std::string& name) {
  CatalogEntry entry{.name = name};
  LM_TRY(entry.also, texts_at(object, "also", subject, name));
  LM_TRY(entry.repos, texts_at(object, "repos", subject, name));
  LM_TRY(const std::string repo, text_at(object, "repo", subject, name));
  if (!repo.empty()) {
    entry.repos.insert(entry.repos.begin(), repo);
  }
  LM_TRY(entry.quant, text_at(object, "quant", subject, name));
  LM_TRY(entry.file, text_at(object, "file", subject, name));
  LM_TRY(entry.license, text_at(object, "license", subject, name));
  if (const auto it = object.find("size_gb"); it != object.end() && it->is_number()) {
    entry.size_gb = it->get<double>();
  }
  if (entry.repos.empty()) {
    return bad_table(subject, fmt::format("'{}' names no repository", name));
  }
  for (const std::string& id : entry.repos) {
    if (const auto checked = check_repo_id(id); !checked) {
      return bad_table(subject, fmt::format("'{}': {}: {}", name, id, checked.error().problem));
    }
  }
  return entry;
}

Result<void> check_short_name(const std::string& subject, const std::string& name) {
  const auto ref = ModelRef::parse(name);
  if (!ref || !ref->host.empty() || !ref->owner.empty() || !ref->url.empty()) {
    return bad_table(subject, fmt::format("'{}' is no short name (model or model:tag)", name));
  }
  return {};
}

/// One line of aliases.json: "user/repo:Q4_K_M", or an object with the keys of catalog.json.
Result<CatalogEntry> alias_of(const std::string& subject, const std::string& name,
                              const json& value) {
  LM_CHECK(check_short_name(subject, name));
  if (value.is_object()) {
    return entry_of(value, subject, name);
  }
  if (!value.is_string()) {
    return bad_table(subject, fmt::format("'{}' is neither text nor an object", name));
  }
  const auto ref = ModelRef::parse(value.get<std::string>());
  if (!ref) {
    return bad_table(subject, fmt::format("'{}': {}", name, ref.error().problem));
  }
  if (!ref->on_hub().is_hub()) {
    return bad_table(subject, fmt::format("'{}' names no repository of the hub", name));
  }
  return CatalogEntry{.name = name, .repos = {ref->repo()}, .quant = ref->tag};
}

/// "llama3.1" and "llama3.1:latest" are one name.
std::string key_of(std::string_view name) {
  std::string key = to_lower(name);
  if (key.ends_with(":latest")) {
    key.resize(key.size() - 7);
  }
  return key;
}

bool has_name(const CatalogEntry& entry, std::string_view key) {
  return key_of(entry.name) == key ||
         std::any_of(entry.also.begin(), entry.also.end(),
                     [&](const std::string& name) { return key_of(name) == key; });
}

std::vector<std::string> tokens_of(std::string_view text) {
  std::vector<std::string> tokens(1);
  for (const char c : to_lower(text)) {
    if (c == '-' || c == '/' || c == '_') {
      tokens.emplace_back();
    } else {
      tokens.back() += c;
    }
  }
  return tokens;
}

/// Whether "instruct", "it" or "qwen-distill" say something about the entry's first repository:
/// every word must occur in its name. "text" and "base" don't, so a base model never turns into an
/// instruct one.
bool words_fit(const CatalogEntry& entry, std::string_view words) {
  if (words.empty()) {
    return true;
  }
  const std::vector<std::string> known = tokens_of(entry.repos.front());
  for (const std::string& word : tokens_of(words)) {
    if (std::find(known.begin(), known.end(), word) == known.end()) {
      return false;
    }
  }
  return true;
}

/// The peer's long tags, size-variant-quant: what follows the size is split into words about the
/// model and a label.
std::optional<CatalogEntry> with_long_tag(const CatalogEntry& entry, std::string_view rest) {
  for (std::size_t at = 0; at != rest.npos; at = rest.find('-', at + 1)) {
    const std::size_t start = at == 0 ? 0 : at + 1;
    const std::string label = label_of_text(rest.substr(start));
    if (!label.empty() && words_fit(entry, rest.substr(0, at))) {
      CatalogEntry found = entry;
      if (label != found.quant) {
        found.quant = label;
        found.file.clear();
        found.size_gb = 0;
      }
      return found;
    }
  }
  return words_fit(entry, rest) ? std::optional(entry) : std::nullopt;
}

/// Edits between two names: insertions, deletions, changes and swaps of neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last;
  std::vector<std::size_t> last(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::vector<std::size_t> row(b.size() + 1, i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    before_last = std::move(last);
    last = std::move(row);
  }
  return last.back();
}

}  // namespace

Result<Catalog> Catalog::load(const std::filesystem::path& lm_home) {
  Catalog catalog;
  LM_TRY(const json table, parse_object("registry/catalog.json", kCatalogJson));
  const json models = table.value("models", json::array());
  for (const json& model : models) {
    if (!model.is_object()) {
      return bad_table("registry/catalog.json", "an entry is no object");
    }
    LM_TRY(const std::string name, text_at(model, "name", "registry/catalog.json", "?"));
    LM_CHECK(check_short_name("registry/catalog.json", name));
    LM_TRY(CatalogEntry entry, entry_of(model, "registry/catalog.json", name));
    catalog.entries_.push_back(std::move(entry));
  }
  const std::filesystem::path path = lm_home / "aliases.json";
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (lm_home.empty() || status.type() == std::filesystem::file_type::not_found) {
    return catalog;
  }
  const std::string subject = path.string();
  if (status.type() != std::filesystem::file_type::regular) {
    return bad_table(subject, "it is no regular file");
  }
  if (std::filesystem::file_size(path, error) > kMaxAliasBytes) {
    return bad_table(subject, fmt::format("it has more than {} bytes", kMaxAliasBytes));
  }
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) {
    return std::unexpected(store::errno_error(subject, "read", errno));
  }
  LM_TRY(const json aliases, parse_object(subject, text));
  std::vector<CatalogEntry> own;
  for (const auto& [name, value] : aliases.items()) {
    LM_TRY(CatalogEntry entry, alias_of(subject, name, value));
    own.push_back(std::move(entry));
  }
  // First in the list wins.
  catalog.entries_.insert(catalog.entries_.begin(), own.begin(), own.end());
  return catalog;
}

std::optional<CatalogEntry> Catalog::find(const ModelRef& ref) const {
  if (!ref.host.empty() || !ref.owner.empty() || !ref.url.empty()) {
    return std::nullopt;
  }
  const std::string model = to_lower(ref.model);
  const std::string tag = to_lower(ref.tag);
  const std::string key = key_of(tag.empty() ? model : model + ":" + tag);
  for (const CatalogEntry& entry : entries_) {
    if (has_name(entry, key)) {
      return entry;
    }
  }
  // The longest known tag that begins the given one: "8b" of "8b-instruct-q4_k_m". The last round
  // takes the whole tag as words about a model with one size: "instruct-q8_0".
  for (std::size_t end = tag.rfind('-');; end = end == 0 ? tag.npos : tag.rfind('-', end - 1)) {
    const bool sizeless = end == tag.npos;
    if (tag.empty()) {
      return std::nullopt;
    }
    const std::string head = sizeless ? model : model + ":" + tag.substr(0, end);
    for (const CatalogEntry& entry : entries_) {
      if (has_name(entry, head)) {
        const auto found =
            with_long_tag(entry, std::string_view(tag).substr(sizeless ? 0 : end + 1));
        if (found) {
          return found;
        }
      }
    }
    if (sizeless) {
      return std::nullopt;
    }
  }
}

std::vector<std::string> Catalog::nearest(std::string_view name, std::size_t n) const {
  const std::string want = key_of(name.substr(0, 200));
  std::vector<std::pair<std::size_t, std::string>> names;
  for (const CatalogEntry& entry : entries_) {
    std::size_t best = distance(want, key_of(entry.name));
    for (const std::string& other : entry.also) {
      best = std::min(best, distance(want, key_of(other)));
    }
    // Another size of the same model is nearer than another model with the same size.
    const std::string model = key_of(entry.name).substr(0, entry.name.find(':'));
    const std::size_t same = want.substr(0, want.find(':')) == model ? 0 : 2;
    names.emplace_back(best + same, entry.name);
  }
  std::stable_sort(names.begin(), names.end());
  std::vector<std::string> out;
  for (const auto& [edits, known] : names) {
    if (out.size() < n && std::find(out.begin(), out.end(), known) == out.end()) {
      out.push_back(known);
    }
  }
  return out;
}

}  // namespace lm::registry
