// What is answered without a model: lists, names, blobs, pulls.
#include <algorithm>
#include <ctime>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "registry/untrusted_json.h"
#include "server/http/framing.h"
#include "server/service/service.h"

namespace lm::server {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// RFC 3339 with a fraction, UTC.
std::string time_text(std::chrono::system_clock::time_point time) {
  const auto ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = ns / 1'000'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     ns % 1'000'000'000);
}

void refuse(Exchange& exchange, const api::ApiError& error) {
  exchange.reply({.status = error.status},
                 api::error_body(api::dress_of_path(exchange.head().path), error));
}

/// The object in the body, or nothing after an answer was given.
std::optional<nlohmann::json> body_object(Exchange& exchange) {
  if (exchange.body().empty()) {
    refuse(exchange, {.status = 400,
                      .code = "invalid_argument",
                      .message = "missing request body",
                      .param = {}});
    return std::nullopt;
  }
  auto document = registry::parse_untrusted(exchange.body());
  if (!document || !document->is_object()) {
    refuse(exchange, {.status = 400,
                      .code = "invalid_argument",
                      .message = "the body is no JSON object",
                      .param = {}});
    return std::nullopt;
  }
  return document;
}

/// A string member by the first of its names; an error answered when it is missing or none.
std::optional<std::string> text_member(Exchange& exchange, const nlohmann::json& body,
                                       std::initializer_list<const char*> names,
                                       const char* missing) {
  for (const char* name : names) {
    const auto found = body.find(name);
    if (found == body.end() || found->is_null()) {
      continue;
    }
    if (!found->is_string()) {
      refuse(exchange, {.status = 400,
                        .code = "invalid_argument",
                        .message = fmt::format("{}: must be a string", name),
                        .param = name});
      return std::nullopt;
    }
    if (!found->get_ref<const std::string&>().empty()) {
      return found->get<std::string>();
    }
  }
  refuse(exchange,
         {.status = 400, .code = "invalid_argument", .message = missing, .param = *names.begin()});
  return std::nullopt;
}

bool flag_of(const nlohmann::json& body, const char* name, bool otherwise) {
  const auto found = body.find(name);
  return found != body.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

}  // namespace

void Service::version(Exchange& exchange) {
  exchange.reply({}, text_of({{"version", options_.api_level},
                              {"lm_version", options_.lm_version},
                              {"store", options_.store_id}}));
}

void Service::tags(Exchange& exchange) {
  auto listed = library_.list();
  if (!listed) {
    return refuse(exchange, listed.error());
  }
  Json models = Json::array();
  for (ListedModel& model : *listed) {
    models.push_back(std::move(model.row));
  }
  exchange.reply({}, text_of({{"models", std::move(models)}}));
}

void Service::ps(Exchange& exchange) {
  Json models = Json::array();
  const auto now = std::chrono::system_clock::now();
  for (const LoadedRow& row : models_.rows()) {
    const std::uint64_t size = row.weight_bytes + row.figures.kv_bytes + row.figures.work_bytes;
    // Of KV and work memory as much is on the GPUs as of the weights.
    const double share = row.weight_bytes == 0 ? 0.0
                                               : static_cast<double>(row.gpu_bytes) /
                                                     static_cast<double>(row.weight_bytes);
    const auto expires =
        row.forever
            ? now + std::chrono::hours(24 * 365 * 100)
            : now + std::chrono::duration_cast<std::chrono::system_clock::duration>(row.remaining);
    Json devices = Json::array();
    for (const RunnerDevice& device : row.ready.devices) {
      devices.push_back(
          {{"id", device.id}, {"detail", device.detail}, {"weights", device.weight_bytes}});
    }
    models.push_back({{"name", row.name},
                      {"model", row.name},
                      {"size", size},
                      {"digest", row.id},
                      {"details", library_.details(row.name)},
                      {"expires_at", time_text(expires)},
                      {"size_vram", static_cast<std::uint64_t>(share * static_cast<double>(size))},
                      {"context_length", row.ready.n_ctx},
                      {"state", row.state},
                      {"active", row.active},
                      {"waiting", row.waiting},
                      {"bytes",
                       {{"weights", row.weight_bytes},
                        {"kv", row.figures.kv_bytes},
                        {"work", row.figures.work_bytes}}},
                      {"devices", std::move(devices)},
                      {"plan", row.ready.plan},
                      {"weight_loads", row.ready.weight_loads},
                      {"sessions", row.ready.sessions},
                      {"pid", row.pid}});
  }
  Json requests = Json::array();
  for (const CallRow& call : book_.rows()) {
    requests.push_back({{"id", call.id},
                        {"model", call.model},
                        {"path", call.path},
                        {"client", call.peer},
                        {"state", call.state},
                        {"age", call.age.count()},
                        {"events", call.tokens}});
  }
  exchange.reply({}, text_of({{"models", std::move(models)}, {"requests", std::move(requests)}}));
}

void Service::show(Exchange& exchange) {
  const auto body = body_object(exchange);
  if (!body) {
    return;
  }
  const auto name = text_member(exchange, *body, {"model", "name"}, "model is required");
  if (!name) {
    return;
  }
  auto made = library_.show(*name, flag_of(*body, "verbose", false));
  if (!made) {
    return refuse(exchange, made.error());
  }
  exchange.reply({}, text_of(*made));
}

void Service::copy(Exchange& exchange) {
  const auto body = body_object(exchange);
  if (!body) {
    return;
  }
  const auto source = text_member(exchange, *body, {"source"}, "source is required");
  if (!source) {
    return;
  }
  const auto target = text_member(exchange, *body, {"destination"}, "destination is required");
  if (!target) {
    return;
  }
  if (auto done = library_.copy(*source, *target); !done) {
    return refuse(exchange, done.error());
  }
  exchange.reply({.content_type = {}}, {});
}

void Service::remove(Exchange& exchange) {
  const auto body = body_object(exchange);
  if (!body) {
    return;
  }
  const auto name = text_member(exchange, *body, {"model", "name"}, "model is required");
  if (!name) {
    return;
  }
  const auto stored = library_.stored_name(*name);
  if (!stored) {
    return refuse(exchange, stored.error());
  }
  models_.unload(*stored);
  if (auto done = library_.remove(*stored); !done) {
    return refuse(exchange, done.error());
  }
  exchange.reply({.content_type = {}}, {});
}

/// Ours: {"model": NAME}, {"all": true} or {"request": ID}.
void Service::stop(Exchange& exchange) {
  const auto body = body_object(exchange);
  if (!body) {
    return;
  }
  if (const auto request = body->find("request"); request != body->end()) {
    const bool known =
        request->is_number_unsigned() && request->get<std::uint64_t>() != 0 &&
        book_.stop(
            request->get<std::uint64_t>(),
            {.status = 503, .code = "stopped", .message = "the request was stopped", .param = {}});
    if (!known) {
      return refuse(exchange, {.status = 404,
                               .code = "not_found",
                               .message = fmt::format("request {} not found", request->dump()),
                               .param = "request"});
    }
    return exchange.reply({}, text_of({{"stopped", 1}}));
  }
  if (flag_of(*body, "all", false)) {
    models_.unload_all();
    return exchange.reply({}, text_of({{"status", "success"}}));
  }
  const auto name = text_member(exchange, *body, {"model"}, "model is required");
  if (!name) {
    return;
  }
  const auto stored = library_.stored_name(*name);
  if (!stored) {
    return refuse(exchange, stored.error());
  }
  const bool was_loaded = models_.unload(*stored);
  exchange.reply({}, text_of({{"status", "success"}, {"was_loaded", was_loaded}}));
}

void Service::blob(Exchange& exchange) {
  const std::string digest = exchange.head().path.substr(std::string_view("/api/blobs/").size());
  const auto there = library_.has_blob(digest);
  if (!there) {
    return refuse(exchange, there.error());
  }
  if (exchange.head().method == "HEAD") {
    return exchange.reply({.status = *there ? 200 : 404, .content_type = {}}, {});
  }
  if (*there) {
    return exchange.reply({.content_type = {}}, {});
  }
  auto* upload = static_cast<BlobUpload*>(exchange.sink());
  if (upload == nullptr) {
    return refuse(exchange, {.status = 400,
                             .code = "invalid_argument",
                             .message = "missing request body",
                             .param = {}});
  }
  if (auto done = upload->finish(); !done) {
    return refuse(exchange, done.error());
  }
  exchange.reply({.status = 201, .content_type = {}}, {});
}

void Service::v1_models(Exchange& exchange) {
  const auto listed = library_.list();
  if (!listed) {
    return refuse(exchange, listed.error());
  }
  Json data = Json::array();
  for (const ListedModel& model : *listed) {
    data.push_back({{"id", model.name},
                    {"object", "model"},
                    {"created", model.modified_unix},
                    {"owned_by", "library"}});
  }
  exchange.reply({}, text_of({{"object", "list"}, {"data", std::move(data)}}));
}

void Service::v1_model(Exchange& exchange) {
  const std::string name = exchange.head().path.substr(std::string_view("/v1/models/").size());
  const auto stored = library_.stored_name(name);
  if (!stored) {
    return refuse(exchange, stored.error());
  }
  const auto shown = library_.show(*stored, false);
  const auto listed = library_.list();
  if (!shown || !listed) {
    return refuse(exchange, shown ? listed.error() : shown.error());
  }
  const auto row = std::ranges::find(*listed, *stored, &ListedModel::name);
  exchange.reply({}, text_of({{"id", name},
                              {"object", "model"},
                              {"created", row == listed->end() ? 0 : row->modified_unix},
                              {"owned_by", "library"},
                              {"context_length", shown->at("details").value("context_length", 0)},
                              {"capabilities", shown->at("capabilities")}}));
}

void Service::metrics(Exchange& exchange) {
  std::string text;
  const auto metric = [&text](std::string_view name, std::string_view type, std::string_view help,
                              auto value) {
    text +=
        fmt::format("# HELP lm_{0} {1}\n# TYPE lm_{0} {2}\nlm_{0} {3}\n", name, help, type, value);
  };
  if (const HttpServer* http = http_.load()) {
    const HttpFigures figures = http->figures();
    metric("connections", "gauge", "Open connections.", figures.connections);
    metric("connections_accepted_total", "counter", "Connections accepted.", figures.accepted);
    metric("requests_total", "counter", "Requests whose head was read.", figures.requests);
    metric("requests_refused_total", "counter", "Requests that the transport refused.",
           figures.refused);
  }
  text += "# HELP lm_answers_total Answers by kind of status.\n# TYPE lm_answers_total counter\n";
  text += fmt::format("lm_answers_total{{status=\"ok\"}} {}\n", answered_2xx_.load());
  text += fmt::format("lm_answers_total{{status=\"client_error\"}} {}\n", answered_4xx_.load());
  text += fmt::format("lm_answers_total{{status=\"server_error\"}} {}\n", answered_5xx_.load());
  text += fmt::format("lm_answers_total{{status=\"client_gone\"}} {}\n", answered_499_.load());
  metric("requests_waiting", "gauge", "Requests that wait for a model.", models_.waiting());
  const std::vector<LoadedRow> rows = models_.rows();
  metric("models_loaded", "gauge", "Loaded models.", rows.size());
  for (const auto& [name, help] : {std::pair{"model_bytes", "Memory of a model, by use."}}) {
    text += fmt::format("# HELP lm_{0} {1}\n# TYPE lm_{0} gauge\n", name, help);
    for (const LoadedRow& row : rows) {
      // Names follow the grammar of models: nothing in them needs escaping.
      text += fmt::format("lm_model_bytes{{model=\"{}\",use=\"weights\"}} {}\n", row.name,
                          row.weight_bytes);
      text += fmt::format("lm_model_bytes{{model=\"{}\",use=\"kv\"}} {}\n", row.name,
                          row.figures.kv_bytes);
      text += fmt::format("lm_model_bytes{{model=\"{}\",use=\"work\"}} {}\n", row.name,
                          row.figures.work_bytes);
    }
  }
  text += "# HELP lm_model_active Requests that a model serves.\n# TYPE lm_model_active gauge\n";
  for (const LoadedRow& row : rows) {
    text += fmt::format("lm_model_active{{model=\"{}\"}} {}\n", row.name, row.active);
  }
  exchange.reply({.content_type = "text/plain; version=0.0.4"}, std::move(text));
}

void Service::long_work(const std::shared_ptr<Exchange>& exchange, bool pull,
                        std::atomic<bool>& stop) {
  const auto body = body_object(*exchange);
  if (!body) {
    return;
  }
  const auto name = text_member(*exchange, *body, {"model", "name"}, "model is required");
  if (!name) {
    return;
  }
  // The client's end ends the pull; `stop` lives as long as this thread, the callback may not know.
  exchange->on_closed([] {});
  const bool stream = flag_of(*body, "stream", true);
  bool begun = false;
  const auto send = [&](const Json& frame) {
    if (exchange->is_closed()) {
      stop = true;
      return;
    }
    if (!stream) {
      return;
    }
    if (!begun) {
      exchange->begin({.content_type = std::string(kNdjson)});
      begun = true;
    }
    exchange->write(ndjson_frame(text_of(frame)));
  };
  auto done = pull ? library_.pull(*name, send, stop) : library_.create(*body, send);
  if (!done) {
    if (!begun) {
      return refuse(*exchange, done.error());
    }
    exchange->write(ndjson_frame(api::error_body(api::Dress::native, done.error())));
    return exchange->end();
  }
  if (!stream) {
    return exchange->reply({}, text_of({{"status", "success"}}));
  }
  exchange->end();
}

}  // namespace lm::server
