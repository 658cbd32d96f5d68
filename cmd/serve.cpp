// lm serve: listens, serves, and ends in order.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cmd/api_level.h"
#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/output.h"
#include "cmd/server_client.h"
#include "cmd/server_library.h"
#include "cmd/settings.h"
#include "cmd/signals.h"
#include "cmd/text_file.h"
#include "server/api/duration.h"
#include "server/service/service.h"

namespace lm::cmd {
namespace {

// How long answers may go on after SIGTERM before they are ended with an error.
constexpr auto kGrace = std::chrono::seconds(5);
// Of as many connections as the transport takes, and the rest.
constexpr rlim_t kDescriptors = 8192;
constexpr auto kFarewell = std::chrono::seconds(2);

struct ServeArguments {
  std::optional<std::string> host, key_file, backend;
  std::vector<std::string> insecure_hosts;
  bool no_auth = false, metrics = false;
};

std::vector<std::string> words_of(const std::string& list) {
  return server::split_keys(list);
}

Result<std::uint32_t> count_setting(std::string_view name) {
  LM_TRY(const SettingValue value, setting(name));
  return static_cast<std::uint32_t>(parse_integer(value.text).value_or(0));
}

Result<server::KeepFor> duration_setting(std::string_view name) {
  LM_TRY(const SettingValue value, setting(name));
  const auto parsed = api::parse_duration(value.text);
  return server::KeepFor{.forever = parsed && parsed->forever,
                         .time = parsed ? parsed->value : std::chrono::nanoseconds(0)};
}

Result<server::ModelsOptions> models_options(const ServeArguments& given) {
  server::ModelsOptions options;
  if (given.backend) {
    options.devices = *given.backend;
  } else {
    LM_TRY(options.devices, backend_setting());
  }
  LM_TRY(const SettingValue isa, setting("LM_CPU_ISA"));
  options.isa = isa.source == "default" ? std::string() : isa.text;
  LM_TRY(options.gpu_overhead, gpu_overhead_setting());
  LM_TRY(options.memory_limit, cpu_memory_setting());
  LM_TRY(options.session.n_ctx, context_length_setting());
  LM_TRY(options.session.kv_type, kv_type_setting());
  LM_TRY(options.session.n_parallel, count_setting("LM_NUM_PARALLEL"));
  LM_TRY(options.keep_for, duration_setting("LM_KEEP_ALIVE"));
  LM_TRY(const std::uint32_t most, count_setting("LM_MAX_LOADED_MODELS"));
  options.max_loaded = most == 0 ? 3 : most;
  LM_TRY(options.max_queue, count_setting("LM_MAX_QUEUE"));
  LM_TRY(const server::KeepFor patience, duration_setting("LM_LOAD_TIMEOUT"));
  options.load_timeout = patience.forever ? std::chrono::nanoseconds(0) : patience.time;
  options.log = [](const std::string& line) { print_note(line); };
  return options;
}

Result<server::ApiKeys> api_keys(const ServeArguments& given) {
  LM_TRY(const SettingValue listed, setting("LM_API_KEY"));
  std::vector<std::string> keys = server::split_keys(listed.text);
  if (given.key_file) {
    LM_TRY(const std::string text, read_text_file(*given.key_file, 1 << 16));
    for (std::string& key : server::split_keys(text)) {
      keys.push_back(std::move(key));
    }
    if (keys.empty()) {
      return failure("invalid_argument", *given.key_file, "holds no key");
    }
  }
  return server::ApiKeys(std::move(keys));
}

/// Listening sockets that a service manager hands over (systemd's LISTEN_FDS).
std::vector<int> inherited_sockets() {
  const char* pid = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  std::vector<int> fds;
  if (pid != nullptr && count != nullptr && parse_integer(pid) == ::getpid()) {
    for (std::int64_t i = 0; i < parse_integer(count).value_or(0); ++i) {
      fds.push_back(3 + static_cast<int>(i));
    }
  }
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  return fds;
}

/// Who holds the address that we wanted.
std::string holder(const ServerAddress& address) {
  const auto found = ServerClient(address).look();
  if (!found) {
    return "another program";
  }
  return !found->lm_version.empty() ? fmt::format("lm {}, which serves there", found->lm_version)
         : !found->version.empty()  ? fmt::format("an Ollama {} server", found->version)
                                    : "another program";
}

void log_access(const server::AccessRecord& record, bool json) {
  const std::string time = format_time(std::time(nullptr));
  const double ms = static_cast<double>(record.time.count()) / 1000.0;
  if (json) {
    nlohmann::ordered_json line{{"time", time},
                                {"id", record.id},
                                {"client", record.peer},
                                {"method", record.method},
                                {"path", record.path},
                                {"status", record.status},
                                {"bytes", record.sent_bytes},
                                {"ms", ms}};
    if (!record.note.empty()) {
      line["note"] = record.note;
    }
    print_to_stderr(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } else {
    print_note(fmt::format("{} {} {} {} {} {:.1f}ms{}{}", time, record.peer, record.method,
                           record.path, record.status, ms, record.note.empty() ? "" : " ",
                           record.note));
  }
}

Result<server::HttpOptions> http_options(const ServeArguments& given,
                                         const ServerAddress& address) {
  server::HttpOptions options;
  LM_TRY(options.keys, api_keys(given));
  options.guard = server::guard_settings_of_this_machine();
  LM_TRY(const SettingValue hosts, setting("LM_ALLOWED_HOSTS"));
  options.guard.allowed_hosts = words_of(hosts.text);
  LM_TRY(const SettingValue origins, setting("LM_ORIGINS"));
  options.guard.origins = words_of(origins.text);
  options.inherited = inherited_sockets();
  if (!options.inherited.empty()) {
    return options;  // who made them has decided who may reach them
  }
  LM_TRY(const std::vector<std::string> addresses, listen_addresses(address));
  if (!is_loopback(addresses) && options.keys.empty()) {
    if (!given.no_auth) {
      return failure("unauthorized", address.host,
                     "can be reached from other machines, and no API key is set",
                     "set LM_API_KEY or --api-key-file, or give --no-auth to let everybody in");
    }
    print_warning(
        fmt::format("everybody who reaches {} can use and delete models: no API key is "
                    "set",
                    address.host));
  }
  for (const std::string& one : addresses) {
    options.listen.push_back(
        {.address = one, .port = address.port, .optional = one == "::1" && addresses.size() > 1});
  }
  return options;
}

/// A connection costs a descriptor; what the system allows is more than what it gives unasked.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < kDescriptors) {
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, kDescriptors);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

/// Waits for SIGINT or SIGTERM.
void wait_for_signal() {
  pollfd wait{interrupt_fd(), POLLIN, 0};
  while (!interrupt_flag().load()) {
    ::poll(&wait, 1, -1);
  }
}

}  // namespace

Result<ExitCode> serve_command(CommandLine& line) {
  ServeArguments given;
  bool json = false;
  Arguments arguments(line);
  arguments.text("--host", given.host, "ADDRESS", "where to listen (default: LM_HOST, loopback)");
  arguments.text("--api-key-file", given.key_file, "PATH", "keys that requests must show");
  arguments.flag("--no-auth", given.no_auth, "listen to other machines without a key");
  arguments.list("--insecure-host", given.insecure_hosts, "HOST",
                 "a host that requests may make this server pull from");
  arguments.text("--backend", given.backend, "B", "auto, cpu, cuda[:i], vulkan[:i], or several");
  arguments.flag("--metrics", given.metrics, "answer GET /metrics (Prometheus)");
  arguments.flag("--json", json, "log as JSON, one object a line");
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (given.backend && !is_backend_spec(*given.backend)) {
    return usage_error("--backend", fmt::format("'{}' is no backend", *given.backend));
  }
  LM_TRY(const ServerAddress address, server_address(given.host));
  LM_TRY(server::HttpOptions http, http_options(given, address));
  LM_TRY(server::ModelsOptions options, models_options(given));
  LM_TRY(LocalStore store, LocalStore::open(LocalStore::Use::change));
  store.clean_up();
  ServerLibrary library(std::move(store), given.insecure_hosts);
  raise_descriptor_limit();
  const GracefulInterrupt graceful;
  server::Models models(std::move(options));
  server::Service service(
      {.api_level = fmt::format("{}.{}.{}", kApiLevel[0], kApiLevel[1], kApiLevel[2]),
       .lm_version = LM_VERSION,
       .store_id = library.identity(),
       .metrics = given.metrics,
       .access_log = [json](const server::AccessRecord& record) { log_access(record, json); }},
      library, models);
  auto server = server::HttpServer::start(std::move(http), service);
  if (!server) {
    Failure failed = server.error();
    if (failed.os_error == EADDRINUSE) {
      failed.problem = fmt::format("is in use by {}", holder(address));
      failed.os_error = 0;
      failed.hint = "choose another address: LM_HOST or --host";
    }
    return std::unexpected(std::move(failed));
  }
  service.set_http(server->get());
  for (const std::uint16_t port : (*server)->ports()) {
    print_note(fmt::format("lm {} listens on port {}", LM_VERSION, port));
  }
  wait_for_signal();
  print_note("ending: no new requests");
  if (!(*server)->drain(kGrace)) {
    service.stop_all();
    (*server)->drain(kFarewell);
  }
  service.set_http(nullptr);
  server->reset();
  service.stop_all();
  models.close();
  interrupt_flag().store(false);
  return ExitCode::ok;
}

}  // namespace lm::cmd
