/// One request that a model answers, from its body to its last byte.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/api/api.h"
#include "server/http/exchange.h"
#include "server/models/models.h"
#include "server/service/library.h"
#include "server/service/work_pool.h"

namespace lm::server {

/// A line of `lm ps --requests`.
struct CallRow {
  std::uint64_t id = 0;
  std::string model;
  std::string path;
  std::string peer;
  std::string state;  ///< reading, waiting, running
  std::chrono::nanoseconds age{0};
  std::uint32_t tokens = 0;  ///< events that have come
};

class Call;

/// The calls that are under way. Thread-safe.
class CallBook {
 public:
  void add(const std::shared_ptr<Call>& call);
  void remove(std::uint64_t id);
  std::vector<CallRow> rows() const;
  /// Ends calls with an error in their API's own words; all of them for id 0. False: there is none.
  bool stop(std::uint64_t id, const api::ApiError& error);
  /// Lets streams that have been silent for long send something harmless.
  void ping(std::chrono::steady_clock::time_point silent_since);

 private:
  std::vector<std::shared_ptr<Call>> all() const;
  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<std::uint64_t, std::weak_ptr<Call>> calls_;
};

/// What a call works with; outlives it.
struct CallTools {
  Models& models;
  Library& library;
  WorkPool& pool;
  CallBook& book;
};

class Call : public std::enable_shared_from_this<Call> {
 public:
  static void start(const CallTools& tools, std::shared_ptr<Exchange> exchange,
                    api::Endpoint endpoint);

  CallRow row() const;
  void stop(const api::ApiError& error);
  void ping(std::chrono::steady_clock::time_point silent_since);

 private:
  using Clock = std::chrono::steady_clock;

  Call(const CallTools& tools, std::shared_ptr<Exchange> exchange, api::Endpoint endpoint);
  void prepare();
  void held(Result<std::shared_ptr<Hold>> hold);
  void run(std::shared_ptr<Hold> hold);
  template <class T>
  void warn_of_load(const char* option, const std::optional<T>& asked,
                    const std::optional<T>& loaded);
  void submit_more();
  void on_event(std::size_t job, Event event);
  void deliver(api::Output out, RequestId credit_to);
  void refuse(const api::ApiError& error);
  void finish();
  void gone();

  CallTools tools_;
  std::shared_ptr<Exchange> exchange_;
  const std::uint64_t id_;
  const api::Endpoint endpoint_;
  const Clock::time_point began_;
  const api::Moment arrived_;

  // Recursive: a runner that has ended says so inside `submit`.
  mutable std::recursive_mutex mutex_;  // guards what follows
  std::string model_name_;
  const char* state_ = "reading";
  api::Asked asked_;
  std::shared_ptr<const StoredModel> stored_;
  std::optional<Ticket> ticket_;
  std::shared_ptr<Hold> hold_;
  api::Work work_;
  std::size_t next_job_ = 0;
  std::unordered_map<RequestId, std::size_t> running_;
  std::vector<bool> ended_;  ///< [job]
  std::size_t n_running_ = 0;
  std::optional<api::Head> head_;
  std::string whole_;  ///< of an answer that goes out in one piece
  bool streaming_ = false;
  bool finished_ = false;
  std::uint32_t n_events_ = 0;
  Clock::time_point last_bytes_;
};

}  // namespace lm::server
