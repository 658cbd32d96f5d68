/// `lm run` through a server that has the model loaded, or will keep it loaded.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "cmd/generate.h"
#include "cmd/server_client.h"

namespace lm::cmd {

/// The server to use instead of loading the model here: lm, with the same store. One of another
/// kind is left alone and, with `say_so`, named in a line on stderr.
std::optional<ServerClient> server_for_store(const std::string& store_id, bool say_so);

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
