/// One HTTP request at a time or several side by side, over libcurl. Redirects are never followed
/// by libcurl: where a token may go and what a redirect may lead to is decided here and in url.h.
/// The program must ignore SIGPIPE: the TLS library writes to sockets that peers may have closed.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "registry/error.h"
#include "registry/settings.h"
#include "registry/url.h"

namespace lm::registry {

/// Header fields of one answer; names are lower case. At most 100 fields and 64 KiB are kept.
class Headers {
 public:
  /// Value of the first field of that (lower-case) name, trimmed; empty when absent.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;
  void add(std::string_view line);
  void clear() { fields_.clear(), bytes_ = 0; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
  std::size_t bytes_ = 0;
};

struct HttpRequest {
  Url url;
  bool head = false;
  std::vector<std::string> headers = {};  ///< "Range: bytes=0-99"
  std::size_t max_body_bytes = 1 << 20;   ///< more is an error (limit_exceeded)
  bool stop_at_body = false;              ///< of a 2xx answer only the header fields are wanted
  std::optional<Secret> bearer = {};      ///< instead of the hub's token; for this address alone
};

struct HttpResponse {
  int status = 0;
  Headers headers;
  std::string body;
  Url url;  ///< that gave this answer
};

/// Receives one answer while it arrives.
class TransferSink {
 public:
  enum class Take { all, pause, abort };
  virtual ~TransferSink() = default;
  /// Once per answer, before its first body byte. False ends the transfer.
  virtual bool on_answer(int status, const Headers& headers) = 0;
  /// `pause`: the bytes were not taken and come again after Transfer::resume.
  virtual Take on_body(std::span<const char> bytes) = 0;
};

/// One request on one libcurl handle; reusable. Belongs to one thread.
class Transfer {
 public:
  explicit Transfer(const HubSettings& settings);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer();

  void prepare(const HttpRequest& request, const Secret* token, TransferSink& sink);
  void resume();
  int status() const { return status_; }
  const Headers& headers() const { return headers_; }
  const Url& url() const { return url_; }
  /// What a libcurl result means: transient ones are `network`, those that another try can't help
  /// `protocol`.
  Error error(int curl_code) const;

 private:
  friend class TransferLoop;
  friend struct TransferCallbacks;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  TransferSink* sink_ = nullptr;
  Headers headers_;
  Url url_;
  int status_ = 0;
  bool announced_ = false;
};

/// Several transfers side by side on the calling thread.
class TransferLoop {
 public:
  struct Done {
    Transfer* transfer;
    int curl_code;
  };
  TransferLoop();
  ~TransferLoop();
  TransferLoop(const TransferLoop&) = delete;
  TransferLoop& operator=(const TransferLoop&) = delete;

  void add(Transfer& transfer);
  /// Ends the transfer if it still runs. Its sink gets no more calls.
  void remove(Transfer& transfer);
  /// Ends every transfer and closes the connections that are kept for reuse.
  void renew();
  /// Moves bytes; waits at most `wait` for something to happen.
  void poll(std::chrono::milliseconds wait);
  /// The next transfer that ended; it is already removed. Call until it gives nothing.
  std::optional<Done> next_done();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Called before each wait with what happened and for how long; for the user's eyes.
using OnWait = std::function<void(const Error&, std::chrono::milliseconds)>;

/// Small requests: whole answer in memory, tries repeated.
class HttpClient {
 public:
  /// `settings` and `stop` outlive the client.
  HttpClient(const HubSettings& settings, const std::atomic<bool>& stop, OnWait on_wait);

  /// One request, no redirect. Errors: network, protocol, limit_exceeded, offline, interrupted.
  Result<HttpResponse> fetch_once(const HttpRequest& request);
  /// Repeats after transient failures, 5xx and 429 as hub-protocol.md 4 and 10 say; answers with
  /// other statuses come back as they are. Errors also: http (5xx to the end), rate_limited.
  Result<HttpResponse> fetch(const HttpRequest& request);
  /// As `fetch`, following at most 10 redirects.
  Result<HttpResponse> fetch_following(HttpRequest request);

  /// The token if it may travel to `url`: same scheme, host and port as the endpoint.
  const Secret* token_for(const Url& url) const;
  /// No token from here on (the hub called it invalid).
  void drop_token() { token_dropped_ = true; }
  bool sends_token() const { return !token_dropped_ && !settings_.token.empty(); }
  const HubSettings& settings() const { return settings_; }
  const std::atomic<bool>& stop() const { return stop_; }
  const Url& endpoint() const { return endpoint_; }
  /// Sleeps unless stopped; error `interrupted` then.
  Result<void> wait(std::chrono::milliseconds time, const Error& because);

 private:
  const HubSettings& settings_;
  const std::atomic<bool>& stop_;
  OnWait on_wait_;
  Url endpoint_;
  bool token_dropped_ = false;
  TransferLoop loop_;
};

bool is_redirect(int status);
Error interrupted_error();
/// " (request id ...)" or empty: what the hub's staff ask for.
std::string request_id_note(const Headers& headers);

}  // namespace lm::registry
