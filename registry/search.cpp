#include "registry/search.h"

#include <algorithm>

#include <fmt/format.h>

#include "registry/model_ref.h"
#include "registry/untrusted_json.h"

namespace lm::registry {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxTermBytes = 200;
constexpr std::size_t kMaxAnswerBytes = 4 << 20;

std::uint64_t count_at(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_unsigned() ? it->get<std::uint64_t>() : 0;
}

/// "2026-11-21T10:00:00.000Z" -> "2026-11-21"; empty for anything else.
std::string day_of(const std::string& time) {
  const std::string day = time.substr(0, 10);
  const std::string_view form = "0000-00-00";
  if (day.size() != form.size()) {
    return {};
  }
  for (std::size_t i = 0; i < form.size(); ++i) {
    const bool digit = day[i] >= '0' && day[i] <= '9';
    if (form[i] == '0' ? !digit : day[i] != form[i]) {
      return {};
    }
  }
  return day;
}

}  // namespace

Result<std::vector<FoundModel>> search_hub(HubClient& hub, std::string_view term, unsigned limit) {
  if (term.empty() || term.size() > kMaxTermBytes || limit == 0 || limit > kMaxSearchResults) {
    return std::unexpected(
        Error{.code = ErrorCode::invalid_argument,
              .subject = "search",
              .problem = fmt::format("needs a term of 1 to {} bytes and a limit of 1 to {}",
                                     kMaxTermBytes, kMaxSearchResults)});
  }
  LM_TRY(
      const HttpResponse response,
      hub.get(fmt::format("/api/models?search={}&filter=gguf&sort=downloads&direction=-1&limit={}",
                          percent_encoded(term, false), limit),
              term, kMaxAnswerBytes));
  const auto body = parse_untrusted(response.body);
  if (!body || !body->is_array()) {
    return std::unexpected(Error{.code = ErrorCode::protocol,
                                 .subject = response.url.for_display(),
                                 .problem = "the answer to a search is no JSON array",
                                 .hint = "check HF_ENDPOINT; not every mirror can search"});
  }
  std::vector<FoundModel> found;
  for (const json& entry : *body) {
    FoundModel model{.repo = string_at(entry, "id")};
    if (!entry.is_object() || !check_repo_id(model.repo)) {
      continue;
    }
    model.downloads = count_at(entry, "downloads");
    model.likes = count_at(entry, "likes");
    model.modified = day_of(string_at(entry, "lastModified"));
    const auto gated = entry.find("gated");
    model.gated =
        gated != entry.end() && (gated->is_string() || (gated->is_boolean() && gated->get<bool>()));
    found.push_back(std::move(model));
  }
  // A mirror may not sort, or send more than was asked for.
  std::ranges::stable_sort(found, std::greater{}, &FoundModel::downloads);
  found.resize(std::min<std::size_t>(found.size(), limit));
  return found;
}

}  // namespace lm::registry
