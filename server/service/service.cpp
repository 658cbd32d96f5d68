#include "server/service/service.h"

#include <algorithm>
#include <array>
#include <condition_variable>

#include <fmt/format.h>

#include "registry/untrusted_json.h"
#include "server/http/framing.h"

namespace lm::server {
namespace {

constexpr unsigned kWorkers = 4;
constexpr std::size_t kLongWorks = 8;
// Proxies and clients give a silent stream up after a minute or more.
constexpr auto kSilence = std::chrono::seconds(15);

constexpr std::string_view kBlobs = "/api/blobs/";
constexpr std::string_view kModels = "/v1/models/";

/// Paths with one handler each, and the methods they take.
struct FixedRoute {
  std::string_view path;
  std::string_view methods;
};
constexpr std::array kFixed{
    FixedRoute{"/", "GET, HEAD"},         FixedRoute{"/health", "GET, HEAD"},
    FixedRoute{"/metrics", "GET, HEAD"},  FixedRoute{"/api/version", "GET, HEAD"},
    FixedRoute{"/api/tags", "GET, HEAD"}, FixedRoute{"/api/ps", "GET, HEAD"},
    FixedRoute{"/api/show", "POST"},      FixedRoute{"/api/copy", "POST"},
    FixedRoute{"/api/delete", "DELETE"},  FixedRoute{"/api/pull", "POST"},
    FixedRoute{"/api/create", "POST"},    FixedRoute{"/api/push", "POST"},
    FixedRoute{"/api/me", "POST"},        FixedRoute{"/api/signout", "POST"},
    FixedRoute{"/api/stop", "POST"},      FixedRoute{"/v1/models", "GET, HEAD"},
};

bool takes(std::string_view methods, std::string_view method) {
  const std::size_t at = methods.find(method);
  return !method.empty() && at != std::string_view::npos &&
         (at + method.size() == methods.size() || methods[at + method.size()] == ',');
}

}  // namespace

/// A pull or create, on a thread of its own: it takes as long as its bytes.
struct Service::LongWork {
  std::atomic<bool> stop{false};
  std::atomic<bool> over{false};
  std::thread thread;
};

Service::Service(ServiceOptions options, Library& library, Models& models)
    : options_(std::move(options)), library_(library), models_(models), pool_(kWorkers) {
  ticker_ = std::jthread([this](const std::stop_token& stop) { tick(stop); });
}

Service::~Service() {
  stop_all();
  const std::lock_guard lock(works_mutex_);
  for (const auto& work : works_) {
    work->thread.join();
  }
}

void Service::tick(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    never.wait_for(lock, stop, std::chrono::seconds(1), [] { return false; });
    book_.ping(std::chrono::steady_clock::now() - kSilence);
  }
}

void Service::stop_all() {
  book_.stop(0, {.status = 503, .code = "ending", .message = "the server is ending", .param = {}});
  const std::lock_guard lock(works_mutex_);
  for (const auto& work : works_) {
    work->stop = true;
  }
}

std::string Service::error_body(std::string_view path, int status, std::string_view message) {
  return api::error_body(
      api::dress_of_path(path),
      {.status = status, .code = {}, .message = std::string(message), .param = {}});
}

void Service::answered(const AccessRecord& record) {
  auto& counter = record.status == 499   ? answered_499_
                  : record.status >= 500 ? answered_5xx_
                  : record.status >= 400 ? answered_4xx_
                                         : answered_2xx_;
  counter.fetch_add(1);
  if (options_.access_log) {
    options_.access_log(record);
  }
}

std::unique_ptr<BodySink> Service::body_sink(const RequestHead& head) {
  if (head.method == "POST" && head.path.starts_with(kBlobs)) {
    return library_.upload(head.path.substr(kBlobs.size()));
  }
  return nullptr;
}

void Service::handle(std::shared_ptr<Exchange> exchange) {
  route(exchange);
}

void Service::route(const std::shared_ptr<Exchange>& exchange) {
  const RequestHead& head = exchange->head();
  if (const auto endpoint = api::endpoint_of(head.path)) {
    if (head.method != "POST") {
      return exchange->reply({.status = 405, .fields = {{"Allow", "POST"}}},
                             error_body(head.path, 405, "method not allowed"));
    }
    return Call::start({models_, library_, pool_, book_}, exchange, *endpoint);
  }
  if (!route_fixed(exchange) && !route_named(exchange)) {
    exchange->reply({.status = 404}, error_body(head.path, 404, "page not found"));
  }
}

void Service::in_pool(std::shared_ptr<Exchange> exchange, void (Service::*work)(Exchange&)) {
  pool_.post([this, exchange = std::move(exchange), work] { (this->*work)(*exchange); });
}

bool Service::route_fixed(const std::shared_ptr<Exchange>& exchange) {
  const RequestHead& head = exchange->head();
  const auto found = std::ranges::find(kFixed, std::string_view(head.path), &FixedRoute::path);
  if (found == kFixed.end() || (head.path == "/metrics" && !options_.metrics)) {
    return false;
  }
  if (!takes(found->methods, head.method)) {
    exchange->reply({.status = 405, .fields = {{"Allow", std::string(found->methods)}}},
                    error_body(head.path, 405, "method not allowed"));
    return true;
  }
  const std::string& path = head.path;
  if (path == "/") {
    exchange->reply({.content_type = "text/plain; charset=utf-8"}, "Ollama is running");
  } else if (path == "/health") {
    exchange->reply({}, R"({"status":"ok"})");
  } else if (path == "/api/version") {
    version(*exchange);
  } else if (path == "/api/push" || path == "/api/me" || path == "/api/signout") {
    exchange->reply({.status = 501}, error_json("lm has no account to act for"));
  } else if (path == "/api/pull" || path == "/api/create") {
    in_thread(exchange, path == "/api/pull");
  } else {
    in_pool(exchange, path == "/api/tags"     ? &Service::tags
                      : path == "/api/ps"     ? &Service::ps
                      : path == "/api/show"   ? &Service::show
                      : path == "/api/copy"   ? &Service::copy
                      : path == "/api/delete" ? &Service::remove
                      : path == "/api/stop"   ? &Service::stop
                      : path == "/v1/models"  ? &Service::v1_models
                                              : &Service::metrics);
  }
  return true;
}

/// Paths that end in a name.
bool Service::route_named(const std::shared_ptr<Exchange>& exchange) {
  const RequestHead& head = exchange->head();
  const bool is_blob = head.path.starts_with(kBlobs);
  if (!is_blob && !head.path.starts_with(kModels)) {
    return false;
  }
  const std::string_view methods = is_blob ? "HEAD, POST" : "GET, HEAD";
  if (!takes(methods, head.method)) {
    exchange->reply({.status = 405, .fields = {{"Allow", std::string(methods)}}},
                    error_body(head.path, 405, "method not allowed"));
    return true;
  }
  in_pool(exchange, is_blob ? &Service::blob : &Service::v1_model);
  return true;
}

void Service::in_thread(std::shared_ptr<Exchange> exchange, bool pull) {
  const std::lock_guard lock(works_mutex_);
  for (auto at = works_.begin(); at != works_.end();) {
    if ((*at)->over.load()) {
      (*at)->thread.join();
      at = works_.erase(at);
    } else {
      ++at;
    }
  }
  if (works_.size() >= kLongWorks) {
    return exchange->reply({.status = 503, .fields = {{"Retry-After", "10"}}},
                           error_json("server busy: too many pulls at once"));
  }
  works_.push_back(std::make_unique<LongWork>());
  LongWork& work = *works_.back();
  work.thread = std::thread([this, &work, exchange = std::move(exchange), pull]() mutable {
    long_work(exchange, pull, work.stop);
    exchange.reset();
    work.over = true;
  });
}

}  // namespace lm::server
