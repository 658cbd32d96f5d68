// The transport on loopback: what clients get, what strangers and broken ones get.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>
#include <zstd.h>

#include "server/http/framing.h"
#include "server/http/http_server.h"
#include "tests/server/http_client.h"

namespace lm::server {
namespace LM_FILE {

using namespace std::chrono_literals;
using test::ask;
using test::RawClient;
using test::request_text;
using test::Response;

/// Counts what it gets, and holds on to exchanges of "/hold" until the test takes them.
class TestHandler : public Handler {
 public:
  struct Upload : BodySink {
    std::string bytes;
    bool take(std::string_view more) override {
      bytes += more;
      return bytes.size() < 1000;
    }
  };
  std::unique_ptr<BodySink> body_sink(const RequestHead& head) override {
    return head.path == "/upload" ? std::make_unique<Upload>() : nullptr;
  }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const std::string& path = exchange->head().path;
    if (path == "/hold") {
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(exchange));
      changed_.notify_all();
    } else if (path == "/stream") {
      exchange->begin({.content_type = std::string(kNdjson)});
      exchange->write(ndjson_frame("{\"n\":1}"));
      exchange->write(ndjson_frame("{\"n\":2}"));
      exchange->end();
    } else if (path == "/drop") {
      exchange.reset();
    } else if (path == "/upload") {
      exchange->reply({.status = 201}, static_cast<Upload*>(exchange->sink())->bytes);
    } else {
      exchange->reply({.content_type = "text/plain"},
                      fmt::format("{} {} {}", exchange->head().method, path, exchange->body()));
    }
  }
  void answered(const AccessRecord& record) override {
    const std::lock_guard lock(mutex_);
    records_.push_back(record);
    changed_.notify_all();
  }

  std::shared_ptr<Exchange> next_held() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 60s, [this] { return !held_.empty(); })) {
      return nullptr;
    }
    auto exchange = std::move(held_.front());
    held_.pop_front();
    return exchange;
  }
  /// Waits for the record of a status.
  bool saw(int status) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 60s, [&] {
      return std::ranges::any_of(records_, [&](const auto& r) { return r.status == status; });
    });
  }

 private:
  std::mutex mutex_;  // guards both
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Exchange>> held_;
  std::vector<AccessRecord> records_;
};

class HttpTest : public ::testing::Test {
 protected:
  void serve(HttpOptions options = {}) {
    options.listen = {{.address = "127.0.0.1", .port = 0}};
    auto started = HttpServer::start(std::move(options), handler_);
    ASSERT_TRUE(started) << started.error().problem;
    server_ = std::move(*started);
    port_ = server_->ports().front();
  }
  int status_of(std::string_view bytes) {
    RawClient client(port_);
    client.send(bytes);
    return client.read().status;
  }
  TestHandler handler_;
  std::unique_ptr<HttpServer> server_;
  std::uint16_t port_ = 0;
};

TEST_F(HttpTest, AnswersAndKeepsTheConnection) {
  serve();
  RawClient client(port_);
  for (int i = 0; i < 3; ++i) {
    client.send(request_text(port_, "POST", "/a%20b?q", "body"));
    const Response response = client.read();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "POST /a b body");
    EXPECT_FALSE(response.fields.contains("connection"));
    EXPECT_TRUE(response.fields.contains("date"));
  }
  client.send(request_text(port_, "HEAD", "/"));
  Response response = client.read(true);
  EXPECT_EQ(response.fields["content-length"], "7");
  client.send(request_text(port_, "GET", "/", {}, "Connection: close\r\n"));
  response = client.read();
  EXPECT_EQ(response.fields["connection"], "close");
  EXPECT_TRUE(client.closed_within(60s));
}

TEST_F(HttpTest, StreamsFrameByFrame) {
  serve();
  const Response response = ask(port_, "GET", "/stream");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.fields.at("content-type"), "application/x-ndjson");
  EXPECT_EQ(response.chunks, (std::vector<std::string>{"{\"n\":1}\n", "{\"n\":2}\n"}));
  // HTTP/1.0 knows no chunks: the end of the connection ends the body.
  RawClient old(port_);
  old.send("GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(old.read().body, "{\"n\":1}\n{\"n\":2}\n");
  RawClient head(port_);
  head.send(request_text(port_, "HEAD", "/stream") + request_text(port_, "GET", "/after"));
  head.read(true);
  EXPECT_EQ(head.read().body, "GET /after ");
}

TEST_F(HttpTest, AnswersRequestsSentAheadInOrder) {
  serve();
  RawClient client(port_);
  std::string all;
  for (int i = 0; i < 200; ++i) {
    all += i % 3 == 0 ? request_text(port_, "GET", "/stream")
                      : request_text(port_, "POST", fmt::format("/{}", i), fmt::format("b{}", i));
  }
  std::thread sender([&] { client.send(all); });
  for (int i = 0; i < 200; ++i) {
    const Response response = client.read();
    ASSERT_EQ(response.body,
              i % 3 == 0 ? "{\"n\":1}\n{\"n\":2}\n" : fmt::format("POST /{} b{}", i, i));
  }
  sender.join();
}

TEST_F(HttpTest, TakesBodiesInEveryForm) {
  serve();
  RawClient client(port_);
  client.send(
      request_text(port_, "POST", "/", {}, "Expect: 100-continue\r\nContent-Length: 5\r\n"));
  EXPECT_TRUE(client.read_some().starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("hello");
  EXPECT_EQ(client.read().body, "POST / hello");
  client.send(request_text(port_, "POST", "/", {}, "Transfer-Encoding: chunked\r\n"));
  client.send("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
  EXPECT_EQ(client.read().body, "POST / hello");

  const std::string text(100'000, 'x');
  std::string packed(200'000, '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 1));
  EXPECT_EQ(ask(port_, "POST", "/", packed, "Content-Encoding: zstd\r\n").body, "POST / " + text);
  EXPECT_EQ(
      ask(port_, "POST", "/", packed.substr(0, packed.size() - 1), "Content-Encoding: zstd\r\n")
          .status,
      400);
  EXPECT_EQ(ask(port_, "POST", "/", "nonsense", "Content-Encoding: gzip\r\n").status, 400);
  EXPECT_EQ(ask(port_, "POST", "/", "x", "Content-Encoding: br\r\n").status, 415);
  EXPECT_EQ(ask(port_, "POST", "/upload", "bytes").body, "bytes");
  EXPECT_EQ(ask(port_, "POST", "/upload", text).status, 507);
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST_F(HttpTest, StopsBodiesThatGrow) {
  HttpOptions options;
  options.limits.request.body_bytes = 1'000'000;
  options.limits.bodies_in_memory = 3'000'000;
  serve(std::move(options));
  EXPECT_EQ(ask(port_, "POST", "/", gzip(std::string(1'000'000, 'x')), "Content-Encoding: gzip\r\n")
                .status,
            200);
  EXPECT_EQ(
      ask(port_, "POST", "/", gzip(std::string(50'000'000, 'x')), "Content-Encoding: gzip\r\n")
          .status,
      413);
  // Declared: refused before a byte of it has come, and without a go-ahead.
  EXPECT_EQ(status_of(request_text(port_, "POST", "/", {},
                                   "Expect: 100-continue\r\nContent-Length: 1000001\r\n")),
            413);
  RawClient chunked(port_);
  chunked.send(request_text(port_, "POST", "/", {}, "Transfer-Encoding: chunked\r\n"));
  chunked.send("fffff\r\n");
  EXPECT_EQ(chunked.read().status, 413);
  // Of all connections together: the fourth has to wait.
  std::vector<std::unique_ptr<RawClient>> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(std::make_unique<RawClient>(port_));
    held.back()->send(request_text(port_, "POST", "/hold", std::string(999'999, 'x')));
  }
  std::vector<std::shared_ptr<Exchange>> exchanges;
  for (int i = 0; i < 3; ++i) {
    exchanges.push_back(handler_.next_held());
  }
  const Response busy = ask(port_, "POST", "/", std::string(999'999, 'x'));
  EXPECT_EQ(busy.status, 503);
  EXPECT_TRUE(busy.fields.contains("retry-after"));
  for (auto& exchange : exchanges) {
    exchange->reply({}, "{}");
  }
  for (auto& client : held) {
    EXPECT_EQ(client->read().status, 200);
  }
  EXPECT_EQ(ask(port_, "POST", "/", std::string(999'999, 'x')).status, 200);
}

TEST_F(HttpTest, RefusesBrokenFraming) {
  serve();
  const std::string host = fmt::format("Host: localhost:{}\r\n", port_);
  for (const std::string& bytes : {
           "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
           "POST / HTTP/1.1\r\n" + host +
               "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "GET / HTTP/1.1\n" + host + "\n",
           std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),
           "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n",
       }) {
    RawClient client(port_);
    client.send(bytes);
    EXPECT_EQ(client.read().status, 400) << bytes;
    EXPECT_TRUE(client.closed_within(60s));
  }
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n" + host + "X: " + std::string(40'000, 'x')), 431);
}

TEST_F(HttpTest, ChecksHostAndOriginBeforeAnything) {
  serve();
  EXPECT_EQ(status_of("GET /nowhere HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"), 400);
  // Before the body: it is never read.
  RawClient stranger(port_);
  stranger.send(request_text(port_, "POST", "/", {},
                             "Origin: https://evil.example\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 1000000\r\n"));
  const Response refused = stranger.read();
  EXPECT_EQ(refused.status, 403);
  EXPECT_TRUE(refused.body.empty());
  EXPECT_EQ(ask(port_, "GET", "/", {}, "Origin: null\r\n").status, 403);
  EXPECT_EQ(ask(port_, "GET", "/", {}, "Sec-Fetch-Site: cross-site\r\n").status, 403);

  Response allowed = ask(port_, "GET", "/", {}, "Origin: http://localhost:3000\r\n");
  EXPECT_EQ(allowed.status, 200);
  EXPECT_EQ(allowed.fields["access-control-allow-origin"], "http://localhost:3000");
  EXPECT_EQ(allowed.fields["vary"], "Origin");
  allowed = ask(port_, "OPTIONS", "/api/chat", {},
                "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\n");
  EXPECT_EQ(allowed.status, 204);
  EXPECT_EQ(allowed.fields["access-control-allow-origin"], "http://localhost:3000");
  EXPECT_NE(allowed.fields["access-control-allow-methods"].find("DELETE"), std::string::npos);
  EXPECT_NE(allowed.fields["access-control-allow-headers"].find("x-stainless-os"),
            std::string::npos);
  EXPECT_EQ(ask(port_, "OPTIONS", "/", {}, "Origin: https://evil.example\r\n").status, 403);
}

TEST_F(HttpTest, AsksForKeys) {
  HttpOptions options;
  options.keys = ApiKeys({"secret"});
  serve(std::move(options));
  Response response = ask(port_, "GET", "/");
  EXPECT_EQ(response.status, 401);
  EXPECT_EQ(response.fields["www-authenticate"], "Bearer");
  EXPECT_EQ(ask(port_, "GET", "/", {}, "Authorization: Bearer wrong\r\n").status, 401);
  EXPECT_EQ(ask(port_, "GET", "/", {}, "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(ask(port_, "GET", "/", {}, "X-Api-Key: secret\r\n").status, 200);
  EXPECT_EQ(ask(port_, "OPTIONS", "/", {}, "Origin: http://localhost\r\n").status, 204);
}

TEST_F(HttpTest, TellsWhenTheClientIsGone) {
  serve();
  for (const bool streaming : {false, true}) {
    auto client = std::make_unique<RawClient>(port_);
    client->send(request_text(port_, "GET", "/hold"));
    const auto exchange = handler_.next_held();
    std::mutex mutex;
    std::condition_variable changed;
    bool closed = false;
    exchange->on_closed([&] {
      const std::lock_guard lock(mutex);
      closed = true;
      changed.notify_all();
    });
    if (streaming) {
      exchange->begin({});
      exchange->write("x");
      client->read_some();
      client->reset();
    } else {
      client->close();
    }
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, 60s, [&] { return closed; }));
    EXPECT_TRUE(exchange->is_closed());
    // Too late is said at once.
    lock.unlock();
    bool again = false;
    exchange->on_closed([&] {
      const std::lock_guard inner(mutex);
      again = true;
      changed.notify_all();
    });
    lock.lock();
    EXPECT_TRUE(changed.wait_for(lock, 60s, [&] { return again; }));
  }
  EXPECT_TRUE(handler_.saw(499));
  // Who only stops sending still gets a short answer.
  RawClient half(port_);
  half.send(request_text(port_, "GET", "/hold"));
  half.stop_sending();
  handler_.next_held()->reply({}, "still");
  EXPECT_EQ(half.read().body, "still");
}

TEST_F(HttpTest, AnswersForHandlersThatDoNot) {
  serve();
  EXPECT_EQ(ask(port_, "GET", "/drop").status, 500);
  RawClient client(port_);
  client.send(request_text(port_, "GET", "/hold"));
  auto exchange = handler_.next_held();
  exchange->begin({});
  exchange->write("begun");
  exchange.reset();
  EXPECT_EQ(client.read().fields["cut"], "1");  // no end that looks like one
}

TEST_F(HttpTest, WaitsForSlowReadersAndGivesUpOnThose) {
  HttpOptions options;
  options.limits.write_stall = 300ms;
  serve(std::move(options));
  RawClient client(port_);
  client.send(request_text(port_, "GET", "/hold"));
  const auto exchange = handler_.next_held();
  exchange->begin({});
  // Frames one after the other, each when the one before has left: stops when nobody reads.
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t sent = 0;
  bool closed = false;
  exchange->on_closed([&] {
    const std::lock_guard lock(mutex);
    closed = true;
    changed.notify_all();
  });
  std::function<void()> more = [&] {
    {
      const std::lock_guard lock(mutex);
      ++sent;
    }
    exchange->write(std::string(64 * 1024, 'x'), more);
  };
  more();
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, 60s, [&] { return closed; }));
  EXPECT_GT(sent, 1u);
  EXPECT_LT(sent, 1000u);  // what the system takes for one socket
  lock.unlock();
  server_.reset();
}

TEST_F(HttpTest, CutsSlowClientsOffWhileOthersAreServed) {
  HttpOptions options;
  options.limits.head_deadline = 1500ms;
  options.limits.body_deadline = 1500ms;
  options.limits.idle_deadline = 1500ms;
  serve(std::move(options));
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 200; ++i) {
    slow.push_back(std::make_unique<RawClient>(port_));
    slow.back()->send("POST / HTTP/1.1\r\nHo");
    slow.push_back(std::make_unique<RawClient>(port_));
    slow.back()->send(request_text(port_, "POST", "/", {}, "Content-Length: 100\r\n") + "b");
  }
  slow.push_back(std::make_unique<RawClient>(port_));  // never says a word
  RawClient idle(port_);
  idle.send(request_text(port_, "GET", "/"));
  EXPECT_EQ(idle.read().status, 200);
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(ask(port_, "GET", "/").status, 200);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
  }
  for (auto& client : slow) {
    // A byte now and then buys no time: the deadline is of the whole head or body.
    client->send("x");
    EXPECT_TRUE(client->closed_within(60s));
  }
  EXPECT_TRUE(idle.closed_within(60s));
  EXPECT_TRUE(handler_.saw(408));
}

TEST_F(HttpTest, HoldsAThousandIdleStreamsOnOneThread) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const std::size_t count = files.rlim_cur > 2200 ? 1000 : 200;
  serve();
  std::vector<std::unique_ptr<RawClient>> clients;
  std::vector<std::shared_ptr<Exchange>> exchanges;
  for (std::size_t i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<RawClient>(port_));
    ASSERT_TRUE(clients.back()->send(request_text(port_, "GET", "/hold")));
    exchanges.push_back(handler_.next_held());
    ASSERT_TRUE(exchanges.back());
    exchanges.back()->begin({.content_type = std::string(kEventStream)});
  }
  EXPECT_EQ(server_->figures().connections, count);
  EXPECT_EQ(ask(port_, "GET", "/x").status, 200);
  for (auto& exchange : exchanges) {
    exchange->write(sse_frame("{}", "ping"));
    exchange->end();
  }
  for (auto& client : clients) {
    EXPECT_EQ(client->read().body, "event: ping\ndata: {}\n\n");
  }
  std::printf("%zu streams\n", count);
}

TEST_F(HttpTest, TurnsConnectionsAwayBeyondItsLimit) {
  HttpOptions options;
  options.limits.connections = 2;
  serve(std::move(options));
  RawClient one(port_), two(port_);
  one.send(request_text(port_, "GET", "/"));
  EXPECT_EQ(one.read().status, 200);
  two.send(request_text(port_, "GET", "/"));
  EXPECT_EQ(two.read().status, 200);
  RawClient three(port_);
  EXPECT_EQ(three.read().status, 503);
  one.close();
  two.close();
  int status = 0;
  for (int i = 0; i < 1000 && status != 200; ++i) {
    status = ask(port_, "GET", "/").status;
  }
  EXPECT_EQ(status, 200);
}

TEST_F(HttpTest, DrainsInOrder) {
  serve();
  RawClient idle(port_), busy(port_);
  idle.send(request_text(port_, "GET", "/"));
  EXPECT_EQ(idle.read().status, 200);
  busy.send(request_text(port_, "GET", "/hold"));
  const auto exchange = handler_.next_held();
  bool drained = false;
  std::thread drain([&] { drained = server_->drain(60s); });
  EXPECT_TRUE(idle.closed_within(60s));
  exchange->reply({}, "last");
  EXPECT_EQ(busy.read().body, "last");
  EXPECT_TRUE(busy.closed_within(60s));
  busy.close();
  drain.join();
  EXPECT_TRUE(drained);
  RawClient late(port_);
  EXPECT_EQ(late.fd(), -1);
}

}  // namespace LM_FILE
}  // namespace lm::server
