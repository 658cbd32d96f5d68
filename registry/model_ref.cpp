// Grammar of ollama's types/model/name.go, with the hub's wider owners and lengths.
#include "registry/model_ref.h"

#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "registry/ascii.h"

namespace lm::registry {
namespace {

constexpr std::size_t kMaxHost = 350;
constexpr std::size_t kMaxPart = 80;
constexpr std::size_t kMaxHubPart = 96;
constexpr std::size_t kMaxUrl = 2048;
constexpr std::string_view kDefaultHost = "registry.ollama.ai";
constexpr std::string_view kDefaultOwner = "library";
constexpr std::string_view kOllamaHost = "ollama.com";
constexpr std::string_view kRegistryScheme = "oci://";

std::unexpected<Error> bad_name(std::string_view text, std::string problem, std::string hint = {}) {
  if (hint.empty()) {
    hint = "write model[:tag], user/repo[:quant] or hf.co/user/repo[:quant]";
  }
  return std::unexpected(Error{.code = ErrorCode::invalid_name,
                               .subject = std::string(text.substr(0, kMaxHost)),
                               .problem = std::move(problem),
                               .hint = std::move(hint)});
}

std::string describe(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 0x20 && byte < 0x7f ? fmt::format("'{}'", c) : fmt::format("byte 0x{:02x}", byte);
}

/// Problem of one part, or empty.
std::string part_problem(std::string_view name, std::string_view part, std::string_view extra,
                         std::size_t max_bytes) {
  if (part.empty()) {
    return fmt::format("its {} is empty", name);
  }
  if (part.size() > max_bytes) {
    return fmt::format("its {} has {} bytes, at most {} are allowed", name, part.size(), max_bytes);
  }
  for (std::size_t i = 0; i < part.size(); ++i) {
    const char c = part[i];
    const bool ok = ascii_alnum(c) || c == '_' || (i > 0 && extra.find(c) != extra.npos);
    if (!ok) {
      return fmt::format("its {} {} {}", name, i == 0 ? "can't begin with" : "contains",
                         describe(c));
    }
  }
  return {};
}

bool starts_with_ignoring_case(std::string_view text, std::string_view start) {
  return equal_ignoring_case(text.substr(0, start.size()), start);
}

bool is_hub_host(std::string_view host) {
  return equal_ignoring_case(host, "hf.co") || equal_ignoring_case(host, "huggingface.co");
}

/// The part of an address between the host and '?' or '#'.
std::string_view url_path(std::string_view url) {
  const std::size_t host = url.find("://") + 3;
  const std::size_t slash = url.find('/', host);
  if (slash == url.npos) {
    return {};
  }
  const std::string_view path = url.substr(slash);
  return path.substr(0, path.find_first_of("?#"));
}

/// A file's name as a model name: other bytes become '-'.
std::string model_from_file(std::string_view file) {
  std::string model;
  for (const char c : file.substr(0, file.size() - std::string_view(".gguf").size())) {
    const bool ok = ascii_alnum(c) || c == '_' || (!model.empty() && (c == '-' || c == '.'));
    if (ok) {
      model += c;
    } else if (!model.empty() && model.back() != '-') {
      model += '-';
    }
  }
  model.resize(std::min(model.size(), kMaxPart));
  return model.empty() ? "model" : model;
}

Result<ModelRef> parse_url(std::string_view text) {
  if (text.size() > kMaxUrl) {
    return bad_name(text,
                    fmt::format("the address has {} bytes, at most {}", text.size(), kMaxUrl));
  }
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f) {
      return bad_name(text, fmt::format("the address contains {}", describe(c)),
                      "percent-encode it");
    }
  }
  const std::string_view authority = text.substr(text.find("://") + 3);
  if (authority.substr(0, authority.find('/')).find('@') != authority.npos) {
    return bad_name(text.substr(0, text.find("://")), "an address can't carry a user or password",
                    "leave out what stands before '@'");
  }
  const std::string_view path = url_path(text);
  ModelRef ref;
  ref.url = std::string(text.substr(0, text.find('#')));
  ref.model = model_from_file(path.substr(path.rfind('/') + 1));
  return ref;
}

bool is_http(std::string_view text) {
  return starts_with_ignoring_case(text, "http://") || starts_with_ignoring_case(text, "https://");
}

bool is_gguf_url(std::string_view text) {
  return is_http(text) && ends_with_ignoring_case(url_path(text), ".gguf");
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == text.npos) {
      return parts;
    }
    text.remove_prefix(at + 1);
  }
}

}  // namespace

Result<ModelRef> ModelRef::parse(std::string_view text) {
  if (text.empty()) {
    return bad_name(text, "the model name is empty");
  }
  if (is_gguf_url(text)) {
    return parse_url(text);
  }
  std::string_view rest = text;
  ModelRef ref;
  bool hub_scheme = false;
  if (starts_with_ignoring_case(rest, "hf://")) {
    rest.remove_prefix(5);
    hub_scheme = true;
  } else if (starts_with_ignoring_case(rest, kRegistryScheme)) {
    rest.remove_prefix(kRegistryScheme.size());
    ref.by_registry = true;
  } else if (is_http(rest)) {
    ref.plain_http = starts_with_ignoring_case(rest, "http://");
    rest.remove_prefix(rest.find("://") + 3);
  }
  if (rest.find('@') != rest.npos) {
    return bad_name(text, "'@' is in no model name", "give a branch, tag or commit by --revision");
  }
  const std::size_t slash = rest.rfind('/');
  const std::size_t colon = rest.rfind(':');
  if (colon != rest.npos && (slash == rest.npos || colon > slash)) {
    const std::string_view tag = rest.substr(colon + 1);
    if (const std::string problem = part_problem("tag", tag, "-_.", kMaxPart); !problem.empty()) {
      return bad_name(text, problem);
    }
    ref.tag = std::string(tag);
    rest = rest.substr(0, colon);
  }
  std::vector<std::string_view> parts = split(rest, '/');
  if (hub_scheme) {
    parts.insert(parts.begin(), "hf.co");
  }
  const bool hub = parts.size() > 1 && is_hub_host(parts.front());
  if (hub && parts.size() != 3) {
    return bad_name(text, "the hub's models are named by user and repository",
                    parts.size() > 3 ? "name the repository, and a file in it by --file"
                                     : "write hf.co/user/repo[:quant]");
  }
  if (parts.size() > 3) {
    return bad_name(text, fmt::format("it has {} parts, at most host/owner/model", parts.size()));
  }
  if (ref.by_registry && parts.size() != 3) {
    return bad_name(text, "behind oci:// a name needs host, owner and model",
                    "write oci://host/owner/model[:tag]");
  }
  const std::size_t max_part = hub ? kMaxHubPart : kMaxPart;
  if (parts.size() == 3) {
    const std::string problem = part_problem("host", parts[0], "-_.:", kMaxHost);
    if (!problem.empty()) {
      return bad_name(text, problem);
    }
    ref.host = hub ? "hf.co" : std::string(parts[0]);
  }
  if (parts.size() >= 2) {
    const std::string_view owner = parts[parts.size() - 2];
    const std::string problem = part_problem("owner", owner, hub ? "-_." : "-_", max_part);
    if (!problem.empty()) {
      return bad_name(text, problem,
                      equal_ignoring_case(owner, kOllamaHost)
                          ? fmt::format("write {}/library/{}", kOllamaHost, parts.back())
                      : !hub && parts.size() == 2 && owner.find('.') != owner.npos
                          ? fmt::format("for the hub write hf.co/{}", rest)
                          : "");
    }
    ref.owner = std::string(owner);
  }
  const std::string problem = part_problem("model", parts.back(), "-_.", max_part);
  if (!problem.empty()) {
    return bad_name(text, problem);
  }
  ref.model = std::string(parts.back());
  // The peer's default host and namespace mean "known here" and are never written.
  if (!ref.by_registry && equal_ignoring_case(ref.owner, kDefaultOwner) &&
      (ref.host.empty() || equal_ignoring_case(ref.host, kDefaultHost))) {
    ref.host.clear();
    ref.owner.clear();
  } else if (equal_ignoring_case(ref.host, kDefaultHost) ||
             equal_ignoring_case(ref.host, kOllamaHost)) {
    ref.host = std::string(kOllamaHost);
  }
  if (hub) {
    LM_CHECK(check_repo_id(ref.repo()));
  }
  return ref;
}

std::string ModelRef::shortest() const {
  std::string out;
  if (!host.empty()) {
    out += host + "/";
  }
  if (!owner.empty()) {
    out += owner + "/";
  }
  return out + model + ":" + tag_or_default();
}

ModelRef ModelRef::on_hub() const {
  ModelRef ref = *this;
  if (host.empty() && !owner.empty()) {
    ref.host = "hf.co";
  }
  return ref;
}

Result<void> check_repo_id(std::string_view repo) {
  const std::string hint = "write user/repo as the hub spells it";
  const auto parts = split(repo, '/');
  if (parts.size() != 2) {
    return bad_name(repo, "a repository is named user/repo", hint);
  }
  for (const std::string_view part : parts) {
    if (const std::string problem = part_problem("repository", part, "-_.", kMaxHubPart);
        !problem.empty()) {
      return bad_name(repo, problem, hint);
    }
    if (part.find("--") != part.npos || part.find("..") != part.npos) {
      return bad_name(repo, "the hub allows neither '--' nor '..' in names", hint);
    }
    if (part.back() == '-' || part.back() == '.') {
      return bad_name(repo, fmt::format("a name on the hub can't end in '{}'", part.back()), hint);
    }
    if (ends_with_ignoring_case(part, ".git")) {
      return bad_name(repo, "a name on the hub can't end in .git", hint);
    }
  }
  return {};
}

bool is_local_path(std::string_view argument) {
  if (argument.empty() || argument.find('\0') != argument.npos || is_http(argument) ||
      starts_with_ignoring_case(argument, "hf://") ||
      starts_with_ignoring_case(argument, kRegistryScheme)) {
    return false;
  }
  std::error_code error;
  const bool exists = argument.size() < 4096 && std::filesystem::exists(argument, error);
  if (argument.find('/') != argument.npos && exists) {
    return true;
  }
  if (!ends_with_ignoring_case(argument, ".gguf")) {
    return false;
  }
  // "hf.co/user/repo:File.gguf" picks a file of a repository by its tag.
  const bool file_tag = argument.rfind(':') != argument.npos && ModelRef::parse(argument);
  return exists || !file_tag;
}

}  // namespace lm::registry
