#include "store/names.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

namespace lm::store {
namespace {

constexpr std::size_t kNameLimit = 512;

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Error invalid(std::string_view name, std::string problem) {
  return {.code = ErrorCode::invalid_name,
          .subject = std::string(name.substr(0, kNameLimit)),
          .problem = std::move(problem),
          .hint = "a model name is [host/][namespace/]model[:tag]"};
}

Result<void> check_part(std::string_view name, std::string_view part, std::string_view what) {
  if (part.empty()) {
    return std::unexpected(invalid(name, fmt::format("empty {} in the model name", what)));
  }
  if (!is_alnum(part.front()) && part.front() != '_') {
    return std::unexpected(
        invalid(name, fmt::format("a {} must begin with a letter, a digit or '_'", what)));
  }
  return {};
}

// Levenshtein distance, one row at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') {
      c = static_cast<char>(c - 'A' + 'a');
    }
  }
  return lower;
}

std::string with_tag(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  const std::size_t from = slash == std::string_view::npos ? 0 : slash + 1;
  return std::string(name) + (name.find(':', from) == std::string_view::npos ? ":latest" : "");
}

Result<void> check_model_name(std::string_view name) {
  if (name.empty()) {
    return std::unexpected(invalid(name, "empty model name"));
  }
  if (name.size() > kNameLimit) {
    return std::unexpected(
        invalid(name, fmt::format("model name has {} bytes (limit {})", name.size(), kNameLimit)));
  }
  for (const char c : name) {
    if (!is_alnum(c) && std::string_view("._-:/").find(c) == std::string_view::npos) {
      return std::unexpected(
          invalid(name, fmt::format("byte 0x{:02x} is not allowed in a model name",
                                    static_cast<unsigned char>(c))));
    }
  }
  std::string_view rest = name;
  for (std::size_t slash = rest.find('/'); slash != std::string_view::npos;
       slash = rest.find('/')) {
    LM_CHECK(check_part(name, rest.substr(0, slash), "part"));
    rest.remove_prefix(slash + 1);
  }
  const std::size_t colon = rest.find(':');
  LM_CHECK(check_part(name, rest.substr(0, colon), "model part"));
  if (colon == std::string_view::npos) {
    return {};
  }
  const std::string_view tag = rest.substr(colon + 1);
  if (tag.find(':') != std::string_view::npos) {
    return std::unexpected(invalid(name, "more than one tag in the model name"));
  }
  return check_part(name, tag, "tag");
}

std::vector<std::string> near_matches(std::string_view wanted,
                                      const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  const std::string text = lower_case(wanted.substr(0, kNameLimit));
  const std::string_view stem = std::string_view(text).substr(0, text.find(':'));
  std::vector<std::pair<std::size_t, std::string>> found;
  for (const std::string& name : names) {
    const std::string lower = lower_case(name);
    const std::size_t distance = edit_distance(text, lower);
    const bool same_stem = stem.size() >= 3 && lower.find(stem) != std::string::npos;
    if (same_stem || distance <= 2 + text.size() / 5) {
      found.emplace_back(same_stem ? distance / 4 : distance, name);
    }
  }
  std::ranges::sort(found);
  std::vector<std::string> result;
  for (auto& [distance, name] : found) {
    if (result.size() == kShown) {
      break;
    }
    result.push_back(std::move(name));
  }
  return result;
}

}  // namespace lm::store
