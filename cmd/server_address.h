/// LM_HOST and --host: where to listen, and whom to call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/report.h"

namespace lm::cmd {

/// "host", "host:port", ":port", "[v6]:port", "http(s)://host[:port][/path]". A port that is
/// missing is 11434; with a scheme 80 or 443.
struct ServerAddress {
  std::string host = {};  ///< without brackets; empty: loopback, both families
  std::uint16_t port = 11434;
};
std::optional<ServerAddress> parse_server_address(std::string_view text);

/// LM_HOST, as --host overrides it.
Result<ServerAddress> server_address(const std::optional<std::string>& flag);

/// Numeric addresses that `host` means to a listener. Errors: not_found.
Result<std::vector<std::string>> listen_addresses(const ServerAddress& address);
/// Whether only this machine can reach all of them.
bool is_loopback(const std::vector<std::string>& addresses);

}  // namespace lm::cmd
