// Variables and their order: hub-protocol.md 5, cli-and-api.md 2.
#include "registry/settings.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>

#include <fmt/format.h>

#include "registry/ascii.h"
#include "registry/url.h"

namespace lm::registry {
namespace {

using store::Error;
using store::ErrorCode;
using store::Result;

constexpr std::size_t kMaxTokenBytes = 4096;

std::unexpected<Error> bad_variable(std::string name, std::string problem, std::string hint) {
  return std::unexpected(Error{.code = ErrorCode::invalid_argument,
                               .subject = std::move(name),
                               .problem = std::move(problem),
                               .hint = std::move(hint)});
}

/// Value without blanks and surrounding quotes; empty when unset.
std::string variable(const char* name) {
  const char* raw = std::getenv(name);
  std::string_view value = trimmed(raw == nullptr ? "" : raw);
  if (value.size() >= 2 && value.front() == value.back() &&
      (value.front() == '"' || value.front() == '\'')) {
    value = trimmed(value.substr(1, value.size() - 2));
  }
  return std::string(value);
}

Result<bool> flag(const char* name) {
  const std::string value = to_lower(variable(name));
  if (value.empty() || value == "0" || value == "false" || value == "off" || value == "no") {
    return false;
  }
  if (value == "1" || value == "true" || value == "on" || value == "yes") {
    return true;
  }
  return bad_variable(name, fmt::format("'{}' is neither true nor false", value),
                      "set it to 1 or 0");
}

/// LM_OFFLINE decides when set; the two others are its fall-backs.
Result<bool> offline() {
  if (!variable("LM_OFFLINE").empty()) {
    return flag("LM_OFFLINE");
  }
  LM_TRY(const bool hub, flag("HF_HUB_OFFLINE"));
  LM_TRY(const bool transformers, flag("TRANSFORMERS_OFFLINE"));
  return hub || transformers;
}

/// An address without a trailing '/'.
Result<std::string> address(const char* name, const std::string& fallback) {
  std::string text = variable(name);
  while (text.ends_with('/')) {
    text.pop_back();
  }
  if (text.empty()) {
    return fallback;
  }
  const auto url = Url::parse(text);
  if (!url || url->has_credentials || text.find_first_of("?#") != text.npos) {
    // The value is not repeated: it may hold a password.
    return bad_variable(name, "it is not an http or https address without user and query",
                        fmt::format("set it to an address such as {}", fallback));
  }
  return text;
}

Result<std::chrono::milliseconds> seconds(const char* name, std::chrono::milliseconds fallback) {
  const std::string value = variable(name);
  if (value.empty()) {
    return fallback;
  }
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (*end != '\0' || !(number > 0) || number > 86400) {
    return bad_variable(name, fmt::format("'{}' is not a number of seconds", value),
                        "set it to a number above 0, for example 10");
  }
  return std::chrono::milliseconds(static_cast<std::int64_t>(number * 1000) + 1);
}

/// `~` at the start, and every $NAME and ${NAME}; one that is not set is empty.
std::string expand_home(std::string_view path) {
  std::string out;
  if (path == "~" || path.starts_with("~/")) {
    out = variable("HOME");
    path.remove_prefix(1);
  }
  while (!path.empty()) {
    if (path.front() != '$') {
      const std::size_t end = std::min(path.find('$'), path.size());
      out += path.substr(0, end);
      path.remove_prefix(end);
      continue;
    }
    const bool braces = path.substr(1).starts_with('{');
    path.remove_prefix(braces ? 2 : 1);
    std::size_t end = 0;
    while (end < path.size() && (ascii_alnum(path[end]) || path[end] == '_')) {
      ++end;
    }
    out += end == 0 ? "$" : variable(std::string(path.substr(0, end)).c_str());
    path.remove_prefix(end);
    path.remove_prefix(braces && path.starts_with('}') ? 1 : 0);
  }
  return out;
}

/// hub-protocol.md 5.
std::string hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string path = variable(name); !path.empty()) {
      return expand_home(path);
    }
  }
  if (const std::string home = variable("HF_HOME"); !home.empty()) {
    return expand_home(home) + "/hub";
  }
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) {
    return expand_home(cache) + "/huggingface/hub";
  }
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.cache/huggingface/hub";
}

std::string default_token_path() {
  if (const std::string path = variable("HF_TOKEN_PATH"); !path.empty()) {
    return expand_home(path);
  }
  if (const std::string home = variable("HF_HOME"); !home.empty()) {
    return expand_home(home) + "/token";
  }
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) {
    return expand_home(cache) + "/huggingface/token";
  }
  const std::string home = variable("HOME");
  return home.empty() ? "" : home + "/.cache/huggingface/token";
}

/// A byte outside printable ASCII in a token would end up in a request header.
Result<Secret> checked_token(const std::string& source, std::string_view text) {
  for (const char c : text) {
    if (c <= 0x20 || c >= 0x7f) {
      return bad_variable(source, "the token contains a blank, control or non-ASCII byte",
                          "store the token alone, on one line");
    }
  }
  if (text.size() > kMaxTokenBytes) {
    return bad_variable(
        source,
        fmt::format("the token has {} bytes, at most {} are allowed", text.size(), kMaxTokenBytes),
        "store the token alone, on one line");
  }
  return Secret(std::string(text));
}

Result<void> read_token(HubSettings& settings) {
  LM_TRY(const bool disabled, flag("HF_HUB_DISABLE_IMPLICIT_TOKEN"));
  if (disabled) {
    return {};
  }
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    const std::string value = variable(name);
    if (!value.empty()) {
      LM_TRY(settings.token, checked_token(name, value));
      settings.token_source = name;
      return {};
    }
  }
  const std::string path = default_token_path();
  std::ifstream file(path, std::ios::binary);
  if (path.empty() || !file) {
    return {};
  }
  std::string text(kMaxTokenBytes + 64, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  const std::string_view value = trimmed(text);
  if (!value.empty()) {
    LM_TRY(settings.token, checked_token(path, value));
    settings.token_source = path;
  }
  return {};
}

}  // namespace

Result<HubSettings> hub_settings_from_environment() {
  HubSettings settings;
  LM_TRY(settings.endpoint, address("HF_ENDPOINT", settings.endpoint));
  LM_TRY(settings.ollama_endpoint, address("LM_OLLAMA_ENDPOINT", settings.ollama_endpoint));
  settings.hf_cache = hub_cache();
  LM_TRY(settings.offline, offline());
  LM_CHECK(read_token(settings));
  settings.ca_file = variable("CURL_CA_BUNDLE");
  if (settings.ca_file.empty()) {
    settings.ca_file = variable("SSL_CERT_FILE");
  }
  settings.ca_dir = variable("SSL_CERT_DIR");
  TransferTuning& tuning = settings.tuning;
  LM_TRY(tuning.answer_timeout, seconds("HF_HUB_ETAG_TIMEOUT", tuning.answer_timeout));
  LM_TRY(tuning.stall_timeout, seconds("HF_HUB_DOWNLOAD_TIMEOUT", tuning.stall_timeout));
  return settings;
}

}  // namespace lm::registry
