// lm stop: unload a model, or end one request.
#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/output.h"
#include "cmd/server_client.h"

namespace lm::cmd {

Result<ExitCode> stop_command(CommandLine& line) {
  std::optional<std::string> model;
  std::optional<std::int64_t> request;
  bool all = false;
  Arguments arguments(line);
  arguments.flag("--all", all, "unload every model");
  arguments.integer("--request", request, 1, INT64_MAX, "end this request (lm ps --requests)");
  arguments.positional("MODEL", model);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (static_cast<int>(model.has_value()) + static_cast<int>(request.has_value()) +
          static_cast<int>(all) !=
      1) {
    return usage_error("lm stop", "takes a model, --all or --request ID", "run: lm stop --help");
  }
  nlohmann::json body;
  if (model) {
    body["model"] = *model;
  } else if (request) {
    body["request"] = *request;
  } else {
    body["all"] = true;
  }
  LM_TRY(const ServerClient server, running_server());
  const auto answer = server.ask_json("POST", "/api/stop", body.dump());
  if (!answer && answer.error().code == "not_found") {
    return failure("not_found", model.value_or(fmt::format("request {}", request.value_or(0))),
                   "couldn't find it to stop");
  }
  if (!answer) {
    return std::unexpected(answer.error());
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
