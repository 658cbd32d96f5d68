/// One client's connection and what all of them share. Private to the transport: with its .cpp and
/// http_server.cpp the only place that knows Boost.Asio.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "server/http/body_decoder.h"
#include "server/http/http_server.h"

namespace lm::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

class Answering;
class Connection;

/// What all connections share. Lives on the server's thread but for the figures.
struct Core : std::enable_shared_from_this<Core> {
  Core(HttpOptions chosen, Handler& to)
      : options(std::move(chosen)), guard(options.guard), handler(to), ticker(io) {}

  asio::io_context io{1};
  HttpOptions options;
  BrowserGuard guard;
  Handler& handler;
  asio::steady_timer ticker;
  std::vector<std::unique_ptr<tcp::acceptor>> acceptors;
  std::vector<std::uint16_t> ports;
  std::array<char, 64 * 1024> buffer{};  ///< what a read gives; used up before the next one
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  std::uint64_t bodies_in_memory = 0;
  std::uint64_t next_id = 1;
  bool draining = false;

  std::mutex mutex;  // guards `empty`'s condition
  std::condition_variable empty;
  std::atomic<std::uint64_t> open{0}, accepted{0}, requests{0}, refused{0};

  void accept(std::size_t which);
  void take(tcp::socket socket, std::uint16_t port);
  void tick();
  void drop(Connection* connection);
  void begin_drain();
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Core& core, tcp::socket socket, std::uint16_t port, std::string peer)
      : core_(core),
        socket_(std::move(socket)),
        port_(port),
        peer_(std::move(peer)),
        parser_(core.options.limits.request) {}

  void start() {
    deadline_ = Clock::now() + limits().head_deadline;
    arm_read();
  }

  // From exchanges; ignored once the exchange is over.
  void reply(std::uint64_t id, ReplyHead head, std::string body);
  void begin(std::uint64_t id, ReplyHead head);
  void write(std::uint64_t id, std::string bytes, std::function<void()> sent);
  void end(std::uint64_t id);
  void abandon(std::uint64_t id);
  void set_closed(std::uint64_t id, const std::shared_ptr<Answering>& exchange,
                  std::function<void()> closed);

  void tick(Clock::time_point now);
  void drain();

 private:
  enum class Phase { head, body, handling, finishing, lingering, closed };

  const HttpLimits& limits() const { return core_.options.limits; }
  bool answering() const { return phase_ == Phase::handling || phase_ == Phase::finishing; }
  void arm_read();
  void on_readable();
  void process(std::string_view data);
  bool on_head();
  bool check_body_fields();
  bool on_body_bytes();
  void dispatch();
  void refuse(int status, std::string message, std::string extra = {});
  void send_head(const ReplyHead& head, std::optional<std::size_t> length);
  void queue(std::string_view bytes) { out_.append(bytes); }
  void send();
  void finish();
  void on_all_sent();
  void next_request();
  void gone();
  void close();
  void release_body();
  void log(int status);

  Core& core_;
  tcp::socket socket_;
  std::uint16_t port_;
  std::string peer_;
  RequestParser parser_;
  Phase phase_ = Phase::head;
  bool fresh_ = true;  ///< nothing of the next request has come
  bool reading_ = false, writing_ = false;
  bool peer_finished_ = false;  ///< sends nothing more
  std::string ahead_;           ///< read, not yet parsed
  Clock::time_point deadline_, body_began_, progress_;

  // The request under way.
  std::uint64_t id_ = 0;
  Clock::time_point began_;
  Verdict verdict_;
  std::unique_ptr<BodyDecoder> decoder_;
  std::unique_ptr<BodySink> sink_;
  std::string piece_, body_;
  std::uint64_t body_decoded_ = 0, body_counted_ = 0;
  std::weak_ptr<Answering> exchange_;
  std::function<void()> closed_;
  int status_ = 0;
  bool chunked_ = false, keep_ = false, bare_ = false;
  std::string note_;

  // What goes out.
  std::string out_;
  std::size_t out_done_ = 0;
  std::uint64_t queued_total_ = 0, sent_total_ = 0, answer_began_at_ = 0;
  std::deque<std::pair<std::uint64_t, std::function<void()>>> on_sent_;
};

class Answering : public Exchange, public std::enable_shared_from_this<Answering> {
 public:
  Answering(std::weak_ptr<Core> core, std::weak_ptr<Connection> connection, std::uint64_t id,
            RequestHead head, std::string peer, std::string body, std::unique_ptr<BodySink> sink)
      : core_(std::move(core)),
        connection_(std::move(connection)),
        id_(id),
        head_(std::move(head)),
        peer_(std::move(peer)),
        body_(std::move(body)),
        sink_(std::move(sink)) {}
  ~Answering() override {
    post([id = id_](Connection& c) { c.abandon(id); });
  }
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;

  std::uint64_t id() const override { return id_; }
  const RequestHead& head() const override { return head_; }
  const std::string& peer() const override { return peer_; }
  const std::string& body() const override { return body_; }
  BodySink* sink() override { return sink_.get(); }

  void reply(ReplyHead head, std::string body) override {
    post([id = id_, head = std::move(head), body = std::move(body)](Connection& c) mutable {
      c.reply(id, std::move(head), std::move(body));
    });
  }
  void begin(ReplyHead head) override {
    post([id = id_, head = std::move(head)](Connection& c) mutable {
      c.begin(id, std::move(head));
    });
  }
  void write(std::string bytes, std::function<void()> sent) override {
    post([id = id_, bytes = std::move(bytes), sent = std::move(sent)](Connection& c) mutable {
      c.write(id, std::move(bytes), std::move(sent));
    });
  }
  void end() override {
    post([id = id_](Connection& c) { c.end(id); });
  }
  void on_closed(std::function<void()> closed) override {
    post([id = id_, self = shared_from_this(),
          closed](Connection& c) mutable { c.set_closed(id, self, std::move(closed)); },
         closed);
  }
  bool is_closed() const override { return is_closed_.load(); }

  std::atomic<bool> is_closed_{false};

 private:
  /// Runs on the server's thread; where connection or server are gone, `otherwise` runs here.
  template <class F>
  void post(F f, const std::function<void()>& otherwise = {}) {
    const std::shared_ptr<Core> core = core_.lock();
    if (!core) {
      if (otherwise) {
        otherwise();
      }
      return;
    }
    asio::post(core->io, [weak = connection_, f = std::move(f), otherwise]() mutable {
      if (const std::shared_ptr<Connection> connection = weak.lock()) {
        f(*connection);
      } else if (otherwise) {
        otherwise();
      }
    });
  }

  std::weak_ptr<Core> core_;
  std::weak_ptr<Connection> connection_;
  std::uint64_t id_;
  RequestHead head_;
  std::string peer_;
  std::string body_;
  std::unique_ptr<BodySink> sink_;
};

}  // namespace lm::server
