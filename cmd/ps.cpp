// lm ps: what the server has in memory, and what it does.
#include <algorithm>
#include <cmath>
#include <ctime>

#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/server_client.h"
#include "cmd/table.h"
#include "registry/untrusted_json.h"

namespace lm::cmd {
namespace {

using nlohmann::json;

std::uint64_t number_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::string processor(std::uint64_t size, std::uint64_t vram) {
  if (vram == 0) {
    return "100% CPU";
  }
  if (vram >= size) {
    return "100% GPU";
  }
  const auto cpu = static_cast<int>(
      std::lround(100.0 * static_cast<double>(size - vram) / static_cast<double>(size)));
  return fmt::format("{}%/{}% CPU/GPU", cpu, 100 - cpu);
}

/// Seconds since 1970 of "2026-01-31T12:00:00.123Z"; 0 for anything else.
std::int64_t unix_time(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  return end == nullptr ? 0 : ::timegm(&parts);
}

std::string models_table(const json& models, const std::string& prefix) {
  Table table({"NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"});
  const std::int64_t now = std::time(nullptr);
  for (const json& model : models) {
    const std::string name = registry::string_at(model, "name");
    if (!name.starts_with(prefix)) {
      continue;
    }
    const std::string state = registry::string_at(model, "state");
    const std::int64_t until = unix_time(registry::string_at(model, "expires_at"));
    constexpr std::int64_t kForever = 20LL * 365 * 24 * 3600;
    table.add({name, registry::string_at(model, "digest").substr(0, 12),
               format_bytes(number_at(model, "size")),
               processor(number_at(model, "size"), number_at(model, "size_vram")),
               fmt::format("{}", number_at(model, "context_length")),
               state == "stopping" || until <= now ? "Stopping..."
               : until - now > kForever            ? "Forever"
                                                   : format_relative(until, now)});
  }
  return table.text();
}

std::string requests_table(const json& requests) {
  Table table({"REQUEST", "MODEL", "PATH", "CLIENT", "STATE", "AGE"});
  for (const json& request : requests) {
    table.add({fmt::format("{}", number_at(request, "id")), registry::string_at(request, "model"),
               registry::string_at(request, "path"), registry::string_at(request, "client"),
               registry::string_at(request, "state"),
               format_remaining(std::chrono::seconds(number_at(request, "age") / 1'000'000'000))});
  }
  return table.text();
}

}  // namespace

Result<ExitCode> ps_command(CommandLine& line) {
  std::optional<std::string> prefix;
  bool requests = false;
  Arguments arguments(line);
  arguments.flag("--requests", requests, "the requests that are under way too");
  arguments.flag("--json", line.json, "print JSON");
  arguments.positional("PREFIX", prefix);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const ServerClient server, running_server());
  LM_TRY(const json answer, server.ask_json("GET", "/api/ps"));
  if (line.json) {
    print(dump_json(answer) + "\n");
    return ExitCode::ok;
  }
  const json none = json::array();
  print(models_table(answer.contains("models") ? answer["models"] : none, prefix.value_or("")));
  if (requests) {
    print("\n" + requests_table(answer.contains("requests") ? answer["requests"] : none));
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
