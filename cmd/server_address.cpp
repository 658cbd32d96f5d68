#include "cmd/server_address.h"

#include <algorithm>
#include <array>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include "cmd/format.h"
#include "cmd/settings.h"

namespace lm::cmd {

std::optional<ServerAddress> parse_server_address(std::string_view text) {
  ServerAddress out;
  if (const std::size_t mark = text.find("://"); mark != std::string_view::npos) {
    const std::string_view scheme = text.substr(0, mark);
    if (scheme != "http" && scheme != "https") {
      return std::nullopt;
    }
    out.port = scheme == "http" ? 80 : 443;
    text.remove_prefix(mark + 3);
    text = text.substr(0, text.find('/'));
  }
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    out.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    out.host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (!port.empty()) {
    const auto number = parse_integer(port.substr(1));
    if (port.front() != ':' || !number || *number < 0 || *number > 65535) {
      return std::nullopt;
    }
    out.port = static_cast<std::uint16_t>(*number);
  }
  if (out.host.find_first_of(" /\\@%") != std::string::npos) {
    return std::nullopt;
  }
  return out;
}

Result<ServerAddress> server_address(const std::optional<std::string>& flag) {
  if (flag) {
    const auto address = parse_server_address(*flag);
    if (!address) {
      return usage_error("--host", fmt::format("'{}' is no address", *flag),
                         "for example 127.0.0.1:11434, :8080 or [::1]:11434");
    }
    return *address;
  }
  LM_TRY(const SettingValue value, setting("LM_HOST"));
  if (value.source == "default") {
    return ServerAddress{};
  }
  return parse_server_address(value.text).value_or(ServerAddress{});
}

Result<std::vector<std::string>> listen_addresses(const ServerAddress& address) {
  if (address.host.empty() || address.host == "localhost") {
    return std::vector<std::string>{"127.0.0.1", "::1"};
  }
  in6_addr ignored{};
  if (::inet_pton(AF_INET, address.host.c_str(), &ignored) == 1 ||
      ::inet_pton(AF_INET6, address.host.c_str(), &ignored) == 1) {
    return std::vector<std::string>{address.host};
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.host.c_str(), nullptr, &hints, &found) != 0) {
    return failure("not_found", address.host, "is no address of this machine",
                   "give one with --host or LM_HOST");
  }
  std::vector<std::string> out;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(at->ai_addr, at->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      out.emplace_back(text.data());
    }
  }
  ::freeaddrinfo(found);
  return out;
}

bool is_loopback(const std::vector<std::string>& addresses) {
  return std::ranges::all_of(addresses, [](const std::string& address) {
    return address == "::1" || address.starts_with("127.");
  });
}

}  // namespace lm::cmd
