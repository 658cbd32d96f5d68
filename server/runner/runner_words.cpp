// JSON: these are said a few times in a runner's life.
#include "server/runner/runner_words.h"

#include <nlohmann/json.hpp>

namespace lm::server {
namespace {

using nlohmann::json;

json session_json(const SessionWish& wish) {
  return {{"n_ctx", wish.n_ctx},
          {"n_batch", wish.n_batch},
          {"kv_type", static_cast<int>(wish.kv_type)},
          {"n_parallel", wish.n_parallel}};
}

SessionWish session_of(const json& from) {
  return {.n_ctx = from.at("n_ctx"),
          .n_batch = from.at("n_batch"),
          .kv_type = static_cast<DType>(from.at("kv_type").get<int>()),
          .n_parallel = from.at("n_parallel")};
}

std::string text_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// What `read` makes of the document; nothing where it is not of the form that it expects.
template <class F>
auto reading(std::string_view bytes, F read) -> std::optional<decltype(read(json()))> {
  try {
    return read(json::parse(bytes));
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

std::string encode(const SessionWish& wish) {
  return text_of(session_json(wish));
}

std::string encode(const RunnerLoad& load) {
  json document{{"name", load.name},       {"labels", load.labels},
                {"devices", load.devices}, {"n_threads", load.n_threads},
                {"isa", load.isa},         {"session", session_json(load.session)}};
  if (load.memory_limit) {
    document["memory_limit"] = *load.memory_limit;
  }
  if (load.gpu_layers) {
    document["gpu_layers"] = *load.gpu_layers;
  }
  document["gpu_overhead"] = load.gpu_overhead;
  return text_of(document);
}

std::string encode(const RunnerReady& ready) {
  json devices = json::array();
  for (const RunnerDevice& d : ready.devices) {
    devices.push_back(
        {{"id", d.id}, {"detail", d.detail}, {"gpu", d.gpu}, {"weights", d.weight_bytes}});
  }
  return text_of({{"n_ctx", ready.n_ctx},
                  {"n_batch", ready.n_batch},
                  {"parallel", ready.parallel},
                  {"embeds", ready.embeds},
                  {"weight_loads", ready.weight_loads},
                  {"sessions", ready.sessions},
                  {"devices", devices},
                  {"notes", ready.notes},
                  {"plan", ready.plan}});
}

std::string encode(const RunnerFigures& figures) {
  return text_of({{"kv", figures.kv_bytes}, {"work", figures.work_bytes}});
}

std::string encode_error(const Error& error) {
  return text_of({{"code", static_cast<int>(error.code)},
                  {"subject", error.subject},
                  {"problem", error.problem},
                  {"hint", error.hint},
                  {"os", error.os_error}});
}

std::optional<SessionWish> decode_session(std::string_view bytes) {
  return reading(bytes, [](const json& d) { return session_of(d); });
}

std::optional<RunnerLoad> decode_load(std::string_view bytes) {
  return reading(bytes, [](const json& d) {
    RunnerLoad load{.name = d.at("name"),
                    .labels = d.at("labels"),
                    .devices = d.at("devices"),
                    .n_threads = d.at("n_threads"),
                    .isa = d.at("isa"),
                    .session = session_of(d.at("session"))};
    if (d.contains("memory_limit")) {
      load.memory_limit = d.at("memory_limit").get<std::uint64_t>();
    }
    if (d.contains("gpu_layers")) {
      load.gpu_layers = d.at("gpu_layers").get<std::uint32_t>();
    }
    load.gpu_overhead = d.at("gpu_overhead");
    return load;
  });
}

std::optional<RunnerReady> decode_ready(std::string_view bytes) {
  return reading(bytes, [](const json& d) {
    RunnerReady ready{.n_ctx = d.at("n_ctx"),
                      .n_batch = d.at("n_batch"),
                      .parallel = d.at("parallel"),
                      .embeds = d.at("embeds"),
                      .weight_loads = d.at("weight_loads"),
                      .sessions = d.at("sessions"),
                      .devices = {},
                      .notes = d.at("notes"),
                      .plan = d.at("plan")};
    for (const json& one : d.at("devices")) {
      ready.devices.push_back({.id = one.at("id"),
                               .detail = one.at("detail"),
                               .gpu = one.at("gpu"),
                               .weight_bytes = one.at("weights")});
    }
    return ready;
  });
}

std::optional<RunnerFigures> decode_figures(std::string_view bytes) {
  return reading(bytes, [](const json& d) {
    return RunnerFigures{.kv_bytes = d.at("kv"), .work_bytes = d.at("work")};
  });
}

Error decode_error(std::string_view bytes) {
  const auto error = reading(bytes, [](const json& d) {
    return Error{static_cast<ErrorCode>(d.at("code").get<int>()), d.at("subject"), d.at("problem"),
                 d.at("hint"), d.at("os")};
  });
  return error.value_or(Error{ErrorCode::io, "runner", "said something that makes no sense"});
}

}  // namespace lm::server
