/// Small requests to an `lm serve` that runs: what `lm ps`, `lm stop` and `lm version` need.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "cmd/report.h"
#include "cmd/server_address.h"

namespace lm::cmd {

struct ServerReply {
  int status = 0;
  std::string body;
};

/// Who answers at an address.
struct FoundServer {
  std::string lm_version;  ///< empty: another program
  std::string version;     ///< its API level; empty: it speaks no such API
  std::string store_id;
};

class ServerClient {
 public:
  explicit ServerClient(ServerAddress address) : address_(std::move(address)) {}

  /// One request on a connection of its own. Errors: not_running (nobody listens), io.
  Result<ServerReply> ask(std::string_view method, std::string_view path,
                          std::string_view body = {}) const;
  /// As `ask`, for an answer that must be an object; a status of 400 and more is an error with the
  /// server's words.
  Result<nlohmann::json> ask_json(std::string_view method, std::string_view path,
                                  std::string_view body = {}) const;
  /// POSTs and gives the answer line by line as it comes, until `on_line` returns false or `stop`
  /// is set; the connection is closed then. Returns the status.
  Result<int> stream(std::string_view path, std::string_view body,
                     const std::function<bool(const std::string&)>& on_line,
                     const std::atomic<bool>& stop) const;
  /// Nothing when nobody listens.
  std::optional<FoundServer> look() const;
  /// "127.0.0.1:11434"
  std::string name() const;

 private:
  Result<std::string> request_text(std::string_view method, std::string_view path,
                                   std::string_view body) const;
  ServerAddress address_;
};

/// The server that LM_HOST means, if it is lm. Errors: not_running; other_program naming it.
Result<ServerClient> running_server();

}  // namespace lm::cmd
