#include "server/http/api_keys.h"

#include <algorithm>

namespace lm::server {
namespace {

/// Looks at every byte of what was shown, whatever differs where.
bool same(std::string_view shown, std::string_view key) {
  unsigned different = shown.size() == key.size() ? 0 : 1;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const char other = key.empty() ? '\0' : key[i % key.size()];
    different |= static_cast<unsigned char>(shown[i]) ^ static_cast<unsigned char>(other);
  }
  return different == 0;
}

}  // namespace

bool ApiKeys::knows(std::string_view shown) const {
  bool found = false;
  for (const std::string& key : keys_) {
    found = same(shown, key) || found;
  }
  return found;
}

bool ApiKeys::allows(const RequestHead& head) const {
  if (keys_.empty()) {
    return true;
  }
  std::string_view bearer = head.field("authorization");
  constexpr std::string_view kScheme = "bearer ";
  const bool is_bearer =
      bearer.size() > kScheme.size() &&
      std::ranges::equal(bearer.substr(0, kScheme.size()), kScheme, [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
      });
  if (is_bearer) {
    bearer.remove_prefix(kScheme.size());
    if (knows(bearer)) {
      return true;
    }
  }
  const std::string_view key = head.field("x-api-key");
  return !key.empty() && knows(key);
}

std::vector<std::string> split_keys(std::string_view text) {
  std::vector<std::string> keys;
  constexpr std::string_view kBlank = " \t\r\n";
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(",\n"), text.size());
    std::string_view one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t begin = one.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) {
      continue;
    }
    one = one.substr(begin, one.find_last_not_of(kBlank) + 1 - begin);
    keys.emplace_back(one);
  }
  return keys;
}

}  // namespace lm::server
