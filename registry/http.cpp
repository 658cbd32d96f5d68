#include "registry/http.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <new>
#include <thread>

#include <curl/curl.h>
#include <fmt/format.h>

#include "registry/ascii.h"
#include "registry/retry.h"

namespace lm::registry {

using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t kMaxHeaderFields = 100;
constexpr std::size_t kMaxHeaderBytes = 64 << 10;
constexpr int kMaxHops = 10;
// A small answer that trickles in slower than this never becomes an answer.
constexpr std::chrono::seconds kWholeAnswerDeadline{120};

void init_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

/// Collects a small answer.
class BodySink : public TransferSink {
 public:
  BodySink(std::size_t max_bytes, bool stop_at_body)
      : max_bytes_(max_bytes), stop_at_body_(stop_at_body) {}
  bool on_answer(int status, const Headers&) override {
    body_.clear();
    last_byte_ = Clock::now();
    stopped_ = stop_at_body_ && status / 100 == 2;
    return !stopped_;
  }
  Take on_body(std::span<const char> bytes) override {
    last_byte_ = Clock::now();
    if (bytes.size() > max_bytes_ - body_.size()) {
      too_big_ = true;
      return Take::abort;
    }
    body_.append(bytes.data(), bytes.size());
    return Take::all;
  }
  std::string body_;
  std::size_t max_bytes_;
  bool stop_at_body_;
  bool stopped_ = false;
  bool too_big_ = false;
  Clock::time_point last_byte_ = Clock::now();
};

}  // namespace

// Headers

std::string_view Headers::get(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (key == name) {
      return value;
    }
  }
  return {};
}

bool Headers::has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const auto& f) { return f.first == name; });
}

std::vector<std::string_view> Headers::all(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const auto& [key, value] : fields_) {
    if (key == name) {
      values.push_back(value);
    }
  }
  return values;
}

void Headers::add(std::string_view line) {
  const std::size_t colon = line.find(':');
  bytes_ += line.size();
  if (colon == line.npos || fields_.size() >= kMaxHeaderFields || bytes_ > kMaxHeaderBytes) {
    return;
  }
  fields_.emplace_back(to_lower(trimmed(line.substr(0, colon))),
                       std::string(trimmed(line.substr(colon + 1))));
}

// Transfer

struct Transfer::Impl {
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  char message[CURL_ERROR_SIZE] = {};

  ~Impl() {
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }
};

struct TransferCallbacks {
  static std::size_t header(char* data, std::size_t, std::size_t size, void* user) {
    // No exception may pass through libcurl's frames: want of memory ends the transfer.
    try {
      auto& transfer = *static_cast<Transfer*>(user);
      const std::string_view line(data, size);
      if (line.starts_with("HTTP/")) {
        transfer.headers_.clear();
      } else {
        transfer.headers_.add(line);
      }
      return size;
    } catch (const std::bad_alloc&) {
      return 0;
    }
  }

  /// Tells the sink about the answer once. False: the sink wants no body.
  static bool announce(Transfer& transfer) {
    if (transfer.announced_) {
      return true;
    }
    transfer.announced_ = true;
    long status = 0;
    curl_easy_getinfo(transfer.impl_->easy, CURLINFO_RESPONSE_CODE, &status);
    transfer.status_ = static_cast<int>(status);
    return transfer.sink_->on_answer(transfer.status_, transfer.headers_);
  }

  static std::size_t body(char* data, std::size_t, std::size_t size, void* user) {
    try {
      auto& transfer = *static_cast<Transfer*>(user);
      if (!announce(transfer)) {
        return 0;
      }
      switch (transfer.sink_->on_body({data, size})) {
        case TransferSink::Take::all:
          return size;
        case TransferSink::Take::pause:
          return CURL_WRITEFUNC_PAUSE;
        case TransferSink::Take::abort:
          return size == 0 ? 1 : 0;
      }
    } catch (const std::bad_alloc&) {
    }
    return 0;
  }
};

Transfer::Transfer(const HubSettings& settings) : impl_(std::make_unique<Impl>()) {
  init_curl();
  impl_->easy = curl_easy_init();
  CURL* easy = impl_->easy;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, impl_->message);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // Parallel ranges are meant to be parallel connections, so no multiplexing.
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(settings.tuning.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, settings.user_agent.c_str());
  if (settings.insecure) {
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!settings.ca_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, settings.ca_file.c_str());
  }
  if (!settings.ca_dir.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAPATH, settings.ca_dir.c_str());
  }
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &TransferCallbacks::header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &TransferCallbacks::body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
}

Transfer::~Transfer() = default;

void Transfer::prepare(const HttpRequest& request, const Secret* token, TransferSink& sink) {
  sink_ = &sink;
  url_ = request.url;
  headers_.clear();
  status_ = 0;
  announced_ = false;
  impl_->message[0] = '\0';
  curl_slist_free_all(impl_->headers);
  impl_->headers = curl_slist_append(nullptr, "Accept-Encoding: identity");
  for (const std::string& header : request.headers) {
    impl_->headers = curl_slist_append(impl_->headers, header.c_str());
  }
  if (token != nullptr) {
    const std::string header = "Authorization: Bearer " + token->reveal();
    impl_->headers = curl_slist_append(impl_->headers, header.c_str());
  }
  CURL* easy = impl_->easy;
  curl_easy_setopt(easy, CURLOPT_URL, url_.text.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, impl_->headers);
  if (request.head) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
  }
}

void Transfer::resume() {
  curl_easy_pause(impl_->easy, CURLPAUSE_CONT);
}

Error Transfer::error(int curl_code) const {
  const auto code = static_cast<CURLcode>(curl_code);
  Error error{.code = ErrorCode::network,
              .subject = url_.for_display(),
              .problem = impl_->message[0] != '\0' ? impl_->message : curl_easy_strerror(code),
              .hint = "check the network, the proxy settings and HF_ENDPOINT"};
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      error.code = ErrorCode::protocol;
      error.problem = "the server's certificate is not trusted: " + error.problem;
      error.hint = "set SSL_CERT_FILE to a file that holds your organisation's certificate";
      break;
    case CURLE_URL_MALFORMAT:
      error.code = ErrorCode::protocol;
      break;
    case CURLE_UNSUPPORTED_PROTOCOL: {
      // The answer is no HTTP. On a connection that was used before it may be the rest of an answer
      // that was longer than its length said; a fresh connection tells.
      long fresh_connections = 0;
      curl_easy_getinfo(impl_->easy, CURLINFO_NUM_CONNECTS, &fresh_connections);
      error.code = fresh_connections > 0 ? ErrorCode::protocol : ErrorCode::network;
      break;
    }
    default:
      break;
  }
  return error;
}

// TransferLoop

struct TransferLoop::Impl {
  CURLM* multi = nullptr;
  std::vector<Transfer*> running;
  std::deque<Done> done;

  void collect() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg != CURLMSG_DONE) {
        continue;
      }
      CURL* easy = message->easy_handle;
      int code = static_cast<int>(message->data.result);
      char* user = nullptr;
      curl_easy_getinfo(easy, CURLINFO_PRIVATE, &user);
      auto* transfer = reinterpret_cast<Transfer*>(user);
      curl_multi_remove_handle(multi, easy);
      std::erase(running, transfer);
      if (code == CURLE_OK) {
        TransferCallbacks::announce(*transfer);  // an answer without a body
      }
      done.push_back({transfer, code});
    }
  }
  void open() {
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 32L);
  }
  void close() {
    for (Transfer* transfer : std::exchange(running, {})) {
      curl_multi_remove_handle(multi, transfer->impl_->easy);
    }
    curl_multi_cleanup(multi);
  }
  /// After an error of the multi handle itself (want of memory): nothing in it goes on by itself.
  void give_up() {
    for (Transfer* transfer : std::exchange(running, {})) {
      curl_multi_remove_handle(multi, transfer->impl_->easy);
      done.push_back({transfer, CURLE_OUT_OF_MEMORY});
    }
  }
  void perform() {
    int left = 0;
    const CURLMcode code = curl_multi_perform(multi, &left);
    collect();
    if (code != CURLM_OK) {
      give_up();
    }
  }
};

TransferLoop::TransferLoop() : impl_(std::make_unique<Impl>()) {
  init_curl();
  impl_->open();
}

TransferLoop::~TransferLoop() {
  impl_->close();
}

void TransferLoop::renew() {
  impl_->close();
  impl_->open();
}

void TransferLoop::add(Transfer& transfer) {
  if (curl_multi_add_handle(impl_->multi, transfer.impl_->easy) != CURLM_OK) {
    impl_->done.push_back({&transfer, CURLE_OUT_OF_MEMORY});
    return;
  }
  impl_->running.push_back(&transfer);
}

void TransferLoop::remove(Transfer& transfer) {
  if (std::erase(impl_->running, &transfer) > 0) {
    curl_multi_remove_handle(impl_->multi, transfer.impl_->easy);
  }
  std::erase_if(impl_->done, [&](const Done& done) { return done.transfer == &transfer; });
}

void TransferLoop::poll(std::chrono::milliseconds wait) {
  impl_->perform();
  if (impl_->done.empty()) {
    curl_multi_poll(impl_->multi, nullptr, 0, static_cast<int>(wait.count()), nullptr);
    impl_->perform();
  }
}

std::optional<TransferLoop::Done> TransferLoop::next_done() {
  if (impl_->done.empty()) {
    return std::nullopt;
  }
  const Done done = impl_->done.front();
  impl_->done.pop_front();
  return done;
}

// HttpClient

HttpClient::HttpClient(const HubSettings& settings, const std::atomic<bool>& stop, OnWait on_wait)
    : settings_(settings), stop_(stop), on_wait_(std::move(on_wait)) {
  if (auto url = Url::parse(settings.endpoint)) {
    endpoint_ = std::move(*url);
  }
}

const Secret* HttpClient::token_for(const Url& url) const {
  return sends_token() && url.same_origin(endpoint_) ? &settings_.token : nullptr;
}

Result<void> HttpClient::wait(std::chrono::milliseconds time, const Error& because) {
  if (on_wait_) {
    on_wait_(because, time);
  }
  const auto until = Clock::now() + time;
  while (Clock::now() < until) {
    if (stop_) {
      return std::unexpected(interrupted_error());
    }
    std::this_thread::sleep_for(
        std::min<Clock::duration>(std::chrono::milliseconds(50), until - Clock::now()));
  }
  return {};
}

Result<HttpResponse> HttpClient::fetch_once(const HttpRequest& request) {
  if (settings_.offline) {
    return std::unexpected(
        Error{.code = ErrorCode::offline,
              .subject = request.url.for_display(),
              .problem = "requests are forbidden by LM_OFFLINE or HF_HUB_OFFLINE",
              .hint = "unset the variable to fetch models"});
  }
  Transfer transfer(settings_);
  BodySink sink(request.max_body_bytes, request.stop_at_body);
  transfer.prepare(request, request.bearer ? &*request.bearer : token_for(request.url), sink);
  loop_.add(transfer);
  const auto start = Clock::now();
  std::optional<TransferLoop::Done> done;
  while (!(done = loop_.next_done())) {
    loop_.poll(std::chrono::milliseconds(50));
    const auto now = Clock::now();
    const bool silent =
        now - sink.last_byte_ >
        settings_.tuning.answer_timeout + (transfer.status() == 0 ? settings_.tuning.connect_timeout
                                                                  : std::chrono::milliseconds(0));
    if (stop_) {
      loop_.remove(transfer);
      return std::unexpected(interrupted_error());
    }
    if (silent || now - start > kWholeAnswerDeadline) {
      loop_.remove(transfer);
      loop_.renew();  // what made it silent may be a connection that is kept
      return std::unexpected(Error{
          .code = ErrorCode::network,
          .subject = request.url.for_display(),
          .problem = fmt::format("no complete answer within {} s",
                                 std::chrono::ceil<std::chrono::seconds>(now - start).count()),
          .hint = "check the network, the proxy settings and HF_ENDPOINT"});
    }
  }
  if (sink.too_big_) {
    return std::unexpected(
        Error{.code = ErrorCode::limit_exceeded,
              .subject = request.url.for_display(),
              .problem = fmt::format("the answer has more than {} bytes", request.max_body_bytes),
              .hint = "check HF_ENDPOINT"});
  }
  if (done->curl_code != CURLE_OK && !sink.stopped_) {
    return std::unexpected(transfer.error(done->curl_code));
  }
  return HttpResponse{.status = transfer.status(),
                      .headers = transfer.headers(),
                      .body = std::move(sink.body_),
                      .url = request.url};
}

Result<HttpResponse> HttpClient::fetch(const HttpRequest& request) {
  const TransferTuning& tuning = settings_.tuning;
  for (int failures = 1;; ++failures) {
    auto response = fetch_once(request);
    std::chrono::milliseconds time = backoff(failures, tuning.retry_base);
    Error error;
    if (!response) {
      if (response.error().code != ErrorCode::network) {
        return response;
      }
      error = response.error();
    } else if (response->status == 429) {
      const auto asked = asked_wait(response->headers);
      error = rate_limited_error(request.url, asked);
      if (asked && *asked > tuning.rate_limit_max) {
        return std::unexpected(error);
      }
      time = asked ? std::chrono::milliseconds(*asked) : time;
    } else if (is_transient_status(response->status)) {
      error = status_error(request.url, response->status, response->headers);
    } else {
      return response;
    }
    if (failures > tuning.max_tries) {
      return std::unexpected(error);
    }
    LM_CHECK(wait(time, error));
  }
}

Result<HttpResponse> HttpClient::fetch_following(HttpRequest request) {
  for (int hop = 0; hop <= kMaxHops; ++hop) {
    LM_TRY(HttpResponse response, fetch(request));
    if (!is_redirect(response.status)) {
      return response;
    }
    request.bearer.reset();
    LM_TRY(request.url, follow_location(request.url, on_endpoint(response.headers.get("location"),
                                                                 settings_.endpoint)));
  }
  return std::unexpected(Error{.code = ErrorCode::protocol,
                               .subject = request.url.for_display(),
                               .problem = fmt::format("more than {} redirects", kMaxHops),
                               .hint = "check HF_ENDPOINT"});
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

Error interrupted_error() {
  return {.code = ErrorCode::interrupted,
          .subject = "pull",
          .problem = "interrupted",
          .hint = "run the same command to continue; what was fetched is kept"};
}

std::string request_id_note(const Headers& headers) {
  std::string_view id = headers.get("x-request-id");
  if (id.empty()) {
    id = headers.get("x-amz-cf-id");
  }
  return id.empty() ? "" : fmt::format(" (request id {})", id.substr(0, 128));
}

}  // namespace lm::registry
