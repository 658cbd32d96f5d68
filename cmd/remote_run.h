/// `lm run` through a server that has the model loaded, or will keep it loaded.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "cmd/generate.h"
#include "cmd/server_client.h"

namespace lm::cmd {

/// The server to use instead of loading the model here: lm, with the same store. One of another
/// kind is named in a line on stderr and left alone.
std::optional<ServerClient> server_for_store(const std::string& store_id);

/// What is asked, in the words of POST /api/generate (raw) or /api/chat.
struct RemoteQuestion {
  bool raw = false;
  nlohmann::json body;
};

/// Streams the answer. SIGINT and SIGTERM end it as in `generate`. Errors: `unsupported` where the
/// model writes no text; those of the server in its words.
Result<Answer> ask_server(const ServerClient& server, const RemoteQuestion& question,
                          AnswerSink& sink);

}  // namespace lm::cmd
