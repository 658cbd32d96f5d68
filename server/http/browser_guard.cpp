#include "server/http/browser_guard.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

namespace lm::server {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return out;
}

/// "name:port", "[v6]:port" in parts; nothing when it is neither.
struct HostPort {
  std::string name;  ///< lower case, without brackets and final dot
  std::optional<std::string> port;
};
std::optional<HostPort> split_host(std::string_view text) {
  HostPort out;
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    out.name = lower(text.substr(1, end - 1));
    rest = text.substr(end + 1);
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    out.name = lower(text.substr(0, colon));
    rest = text.substr(colon);
    if (out.name.ends_with('.')) {
      out.name.pop_back();
    }
  }
  if (!rest.empty()) {
    rest.remove_prefix(1);
    if (text[text.size() - rest.size() - 1] != ':' || rest.empty() || rest.size() > 5 ||
        rest.find_first_not_of("0123456789") != std::string_view::npos) {
      if (rest != "*") {
        return std::nullopt;
      }
    }
    out.port = std::string(rest);
  }
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == ':' || c == '*';
  };
  if (out.name.empty() || !std::ranges::all_of(out.name, plain)) {
    return std::nullopt;
  }
  return out;
}

bool is_local_v4(std::uint32_t address) {
  const auto in = [address](std::uint32_t network, int bits) {
    return (address >> (32 - bits)) == (network >> (32 - bits));
  };
  return address == 0 || in(0x7f000000u, 8) || in(0x0a000000u, 8) || in(0xac100000u, 12) ||
         in(0xc0a80000u, 16);
}

/// Loopback, private or unspecified. Only canonical spellings are addresses.
bool is_local_address(const std::string& name) {
  in_addr v4{};
  if (inet_pton(AF_INET, name.c_str(), &v4) == 1) {
    return is_local_v4(ntohl(v4.s_addr));
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, name.c_str(), &v6) != 1) {
    return false;
  }
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    std::uint32_t inner = 0;
    std::memcpy(&inner, v6.s6_addr + 12, 4);
    return is_local_v4(ntohl(inner));
  }
  return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6) ||
         (v6.s6_addr[0] & 0xfe) == 0xfc || IN6_IS_ADDR_LINKLOCAL(&v6);
}

/// Compares label by label; "*" stands for one whole label, a leading "*." for one or more.
bool matches_name(std::string_view pattern, std::string_view name) {
  if (pattern.starts_with("*.")) {
    const std::string_view tail = pattern.substr(1);
    return name.size() > tail.size() && name.ends_with(tail);
  }
  while (true) {
    const std::size_t p = std::min(pattern.find('.'), pattern.size());
    const std::size_t n = std::min(name.find('.'), name.size());
    if (pattern.substr(0, p) != "*" && pattern.substr(0, p) != name.substr(0, n)) {
      return false;
    }
    const bool pattern_ends = p == pattern.size();
    const bool name_ends = n == name.size();
    if (pattern_ends || name_ends) {
      return pattern_ends && name_ends;
    }
    pattern.remove_prefix(p + 1);
    name.remove_prefix(n + 1);
  }
}

struct Origin {
  std::string scheme;
  std::string host;  ///< "name:port" as written, lower case
};
std::optional<Origin> split_origin(std::string_view text) {
  const std::size_t mark = text.find("://");
  if (mark == std::string_view::npos || mark == 0) {
    return std::nullopt;
  }
  Origin out{lower(text.substr(0, mark)), lower(text.substr(mark + 3))};
  if (out.host.find_first_of("/?#@\\ ") != std::string::npos) {
    return std::nullopt;
  }
  return out;
}

bool matches_origin(const std::string& pattern, const Origin& origin) {
  if (pattern == "*") {
    return true;
  }
  const auto wanted = split_origin(pattern);
  if (!wanted || wanted->scheme != origin.scheme) {
    return false;
  }
  if (wanted->host == "*" || wanted->host == origin.host) {
    return true;
  }
  const auto have = split_host(origin.host);
  const auto want = split_host(wanted->host);
  return have && want && matches_name(want->name, have->name) &&
         (want->port == "*" || want->port == have->port);
}

}  // namespace

BrowserGuardSettings guard_settings_of_this_machine() {
  BrowserGuardSettings settings;
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0) {
    settings.host_name = lower(name.data());
  }
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) {
    return settings;
  }
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (at->ifa_addr == nullptr) {
      continue;
    }
    if (at->ifa_addr->sa_family == AF_INET) {
      const auto* v4 = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
      inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
    } else if (at->ifa_addr->sa_family == AF_INET6) {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(at->ifa_addr);
      inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
    }
    if (text[0] != '\0') {
      settings.interfaces.emplace_back(text.data());
    }
  }
  ::freeifaddrs(list);
  return settings;
}

bool BrowserGuard::name_allowed(std::string_view name) const {
  return name == "localhost" || (!settings_.host_name.empty() && name == settings_.host_name) ||
         name.ends_with(".localhost") || name.ends_with(".local") || name.ends_with(".internal") ||
         is_local_address(std::string(name)) ||
         std::ranges::find(settings_.interfaces, name) != settings_.interfaces.end();
}

bool BrowserGuard::host_allowed(std::string_view host, std::uint16_t port) const {
  const auto have = split_host(host);
  if (!have || have->name.find('*') != std::string::npos || have->port == "*") {
    return false;
  }
  const bool own_port = !have->port || *have->port == std::to_string(port);
  if (own_port && name_allowed(have->name)) {
    return true;
  }
  return std::ranges::any_of(settings_.allowed_hosts, [&](const std::string& entry) {
    const auto allowed = split_host(entry);
    return allowed && matches_name(allowed->name, have->name) &&
           (allowed->port ? allowed->port == "*" || allowed->port == have->port : own_port);
  });
}

bool BrowserGuard::origin_allowed(std::string_view text, std::string_view host) const {
  const auto origin = split_origin(text);
  if (!origin) {
    return false;  // "null" too
  }
  const bool web = origin->scheme == "http" || origin->scheme == "https";
  if (web) {
    const auto parts = split_host(origin->host);
    constexpr std::array<std::string_view, 4> kLoopback{"localhost", "127.0.0.1", "::1", "0.0.0.0"};
    if (parts && parts->port != "*" &&
        std::ranges::find(kLoopback, std::string_view(parts->name)) != kLoopback.end()) {
      return true;
    }
    if (parts && origin->host == lower(host)) {
      return true;  // a page that this server gave out; its Host has been checked
    }
  }
  constexpr std::array<std::string_view, 4> kApps{"app", "tauri", "vscode-webview", "vscode-file"};
  if (std::ranges::find(kApps, std::string_view(origin->scheme)) != kApps.end() ||
      (origin->scheme == "file" && origin->host.empty())) {
    return true;
  }
  return std::ranges::any_of(settings_.origins, [&](const std::string& pattern) {
    return matches_origin(pattern, *origin);
  });
}

Verdict BrowserGuard::check(const RequestHead& head, std::uint16_t port) const {
  const std::string_view host = head.field("host");
  if (head.count("host") != 1 || host.empty()) {
    return {400, {}, "Host is missing, empty or given twice"};
  }
  if (!host_allowed(host, port)) {
    return {403, {}, "Host is not one of this machine"};
  }
  const std::string_view origin = head.field("origin");
  if (head.count("origin") > 1 || (head.count("origin") == 1 && !origin_allowed(origin, host))) {
    return {403, {}, "Origin is not allowed"};
  }
  const bool page = head.method == "GET" && head.path == "/" &&
                    head.field("sec-fetch-mode") == "navigate" &&
                    head.field("sec-fetch-dest") == "document";
  if (origin.empty() && head.field("sec-fetch-site") == "cross-site" && !page) {
    return {403, {}, "a page of another site asks"};
  }
  return {0, std::string(origin), {}};
}

}  // namespace lm::server
