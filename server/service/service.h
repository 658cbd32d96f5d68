/// lm serve without its command line: routes, models, the lists.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/http/http_server.h"
#include "server/models/models.h"
#include "server/service/call.h"
#include "server/service/library.h"
#include "server/service/work_pool.h"

namespace lm::server {

struct ServiceOptions {
  std::string api_level;   ///< what /api/version says to clients of the native API
  std::string lm_version;  ///< and what it says to us
  std::string store_id;    ///< the same for every lm that uses the same store
  bool metrics = false;
  std::function<void(const AccessRecord&)> access_log;
};

class Service : public Handler {
 public:
  /// `library` and `models` outlive it.
  Service(ServiceOptions options, Library& library, Models& models);
  ~Service() override;  ///< waits for pulls that were told to stop
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // From the transport, on its thread.
  std::unique_ptr<BodySink> body_sink(const RequestHead& head) override;
  void handle(std::shared_ptr<Exchange> exchange) override;
  std::string error_body(std::string_view path, int status, std::string_view message) override;
  void answered(const AccessRecord& record) override;

  /// Ends every call and pull with an error of its API, for the end of the server.
  void stop_all();
  /// For /metrics; may be unset.
  void set_http(const HttpServer* http) { http_ = http; }

 private:
  struct LongWork;
  using Reply = std::function<void(Exchange&)>;

  void route(const std::shared_ptr<Exchange>& exchange);
  bool route_fixed(const std::shared_ptr<Exchange>& exchange);
  bool route_named(const std::shared_ptr<Exchange>& exchange);
  void in_pool(std::shared_ptr<Exchange> exchange, void (Service::*work)(Exchange&));
  void in_thread(std::shared_ptr<Exchange> exchange, bool pull);

  void version(Exchange& exchange);
  void tags(Exchange& exchange);
  void ps(Exchange& exchange);
  void show(Exchange& exchange);
  void copy(Exchange& exchange);
  void remove(Exchange& exchange);
  void stop(Exchange& exchange);
  void blob(Exchange& exchange);
  void v1_models(Exchange& exchange);
  void v1_model(Exchange& exchange);
  void metrics(Exchange& exchange);
  void long_work(const std::shared_ptr<Exchange>& exchange, bool pull, std::atomic<bool>& stop);
  void tick(const std::stop_token& stop);

  ServiceOptions options_;
  Library& library_;
  Models& models_;
  CallBook book_;
  WorkPool pool_;
  std::atomic<const HttpServer*> http_{nullptr};
  std::atomic<std::uint64_t> answered_2xx_{0}, answered_4xx_{0}, answered_5xx_{0}, answered_499_{0};
  std::mutex works_mutex_;  // guards `works_`
  std::list<std::unique_ptr<LongWork>> works_;
  std::jthread ticker_;
};

}  // namespace lm::server
