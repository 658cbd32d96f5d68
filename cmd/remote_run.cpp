#include "cmd/remote_run.h"

#include <fmt/format.h>

#include "cmd/output.h"
#include "cmd/signals.h"
#include "registry/untrusted_json.h"

namespace lm::cmd {
namespace {

using nlohmann::json;

std::uint64_t number_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::uint32_t count_at(const json& object, const char* key) {
  return static_cast<std::uint32_t>(number_at(object, key));
}

/// One line of the stream into the answer.
Result<void> take(const json& frame, bool raw, Answer& answer, AnswerSink& sink) {
  if (frame.contains("error")) {
    return failure("failed", "server", registry::string_at(frame, "error"));
  }
  const json none = json::object();
  const json& from = raw ? frame : (frame.contains("message") ? frame["message"] : none);
  const std::string content = registry::string_at(from, raw ? "response" : "content");
  const std::string thinking = registry::string_at(from, "thinking");
  if (!thinking.empty()) {
    answer.thinking += thinking;
    sink.thinking(thinking);
  }
  if (!content.empty()) {
    answer.content += content;
    sink.content(content);
  }
  if (const auto warnings = frame.find("warnings");
      warnings != frame.end() && warnings->is_array()) {
    for (const json& warning : *warnings) {
      if (warning.is_string()) {
        sink.warning(warning.get<std::string>());
      }
    }
  }
  if (frame.value("done", false)) {
    answer.finish =
        registry::string_at(frame, "done_reason") == "length" ? Finish::length : Finish::stop;
    answer.stats.prompt_tokens = count_at(frame, "prompt_eval_count");
    answer.stats.cached_tokens = count_at(frame, "prompt_cached_count");
    answer.stats.generated_tokens = count_at(frame, "eval_count");
    answer.stats.truncated_tokens = count_at(frame, "truncated");
    answer.stats.prompt_ns = number_at(frame, "prompt_eval_duration");
    answer.stats.generation_ns = number_at(frame, "eval_duration");
    answer.total_time = std::chrono::nanoseconds(number_at(frame, "total_duration"));
  }
  return {};
}

}  // namespace

std::optional<ServerClient> server_for_store(const std::string& store_id, bool say_so) {
  const auto address = server_address(std::nullopt);
  if (!address) {
    return std::nullopt;
  }
  ServerClient client(*address);
  const auto found = client.look();
  if (!found) {
    return std::nullopt;
  }
  if (found->lm_version.empty() && say_so) {
    print_note(fmt::format("{} is {}: left alone, the model runs here", client.name(),
                           found->version.empty()
                               ? std::string("another program")
                               : fmt::format("an Ollama {} server", found->version)));
  }
  if (found->lm_version.empty() || found->store_id != store_id) {
    return std::nullopt;  // an lm with another store has other models
  }
  return client;
}

Result<Answer> ask_server(const ServerClient& server, const RemoteQuestion& question,
                          AnswerSink& sink) {
  const GracefulInterrupt graceful;
  Answer answer;
  std::optional<Failure> failed;
  bool ended = false;
  const auto on_line = [&](const std::string& line) {
    const auto frame = registry::parse_untrusted(line);
    if (!frame || !frame->is_object()) {
      failed = Failure("other_program", server.name(), "answers in a way that lm does not");
      return false;
    }
    if (auto taken = take(*frame, question.raw, answer, sink); !taken) {
      failed = taken.error();
      return false;
    }
    ended = ended || frame->value("done", false);
    return true;
  };
  const auto status = server.stream(question.raw ? "/api/generate" : "/api/chat",
                                    question.body.dump(), on_line, interrupt_flag());
  if (interrupt_flag().load()) {
    interrupt_flag().store(false);
    answer.interrupted = true;
    return answer;
  }
  if (!status) {
    return std::unexpected(status.error());
  }
  if (failed) {
    if (*status == 400 && failed->problem.find("does not support") != std::string::npos) {
      failed->code = "unsupported";
    }
    return std::unexpected(*failed);
  }
  if (!ended) {
    return failure("io", server.name(), "ended the answer before its end");
  }
  return answer;
}

}  // namespace lm::cmd
