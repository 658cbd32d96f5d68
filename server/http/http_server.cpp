#include "server/http/http_server.h"

#include <algorithm>
#include <thread>

#include <boost/asio/ip/v6_only.hpp>
#include <fmt/format.h>

#include "server/http/connection.h"

namespace lm::server {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);

Result<std::unique_ptr<tcp::acceptor>> listen_on(asio::io_context& io, const ListenAddress& at) {
  error_code ec;
  const auto address = asio::ip::make_address(at.address, ec);
  const std::string name = address.is_v6() ? fmt::format("[{}]:{}", at.address, at.port)
                                           : fmt::format("{}:{}", at.address, at.port);
  if (ec) {
    return lm::fail(ErrorCode::invalid_argument, at.address, "is no numeric address");
  }
  const tcp::endpoint endpoint(address, at.port);
  auto acceptor = std::make_unique<tcp::acceptor>(io);
  const char* call = "socket";
  acceptor->open(endpoint.protocol(), ec);
  if (!ec) {
    call = "listen";
    acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
    if (address.is_v6()) {
      acceptor->set_option(asio::ip::v6_only(true), ec);
    }
    acceptor->bind(endpoint, ec);
  }
  if (!ec) {
    acceptor->listen(asio::socket_base::max_listen_connections, ec);
  }
  if (ec) {
    const bool taken = ec == asio::error::address_in_use;
    return lm::fail(ErrorCode::io, name,
                    taken ? "is in use by another program" : fmt::format("{} fails", call),
                    taken ? "stop it, or choose another address: LM_HOST, --host" : "", ec.value());
  }
  return acceptor;
}

}  // namespace

void Core::accept(std::size_t which) {
  if (draining) {
    return;
  }
  acceptors[which]->async_accept([this, which](const error_code& ec, tcp::socket socket) {
    if (draining || ec == asio::error::operation_aborted) {
      return;
    }
    if (ec) {
      // No descriptors left, or no memory: wait instead of spinning.
      auto pause = std::make_shared<asio::steady_timer>(io, std::chrono::seconds(1));
      pause->async_wait([this, which, pause](const error_code&) { accept(which); });
      return;
    }
    take(std::move(socket), ports[which]);
    accept(which);
  });
}

void Core::take(tcp::socket socket, std::uint16_t port) {
  accepted.fetch_add(1);
  error_code ec;
  socket.non_blocking(true, ec);
  socket.set_option(tcp::no_delay(true), ec);
  const auto remote = socket.remote_endpoint(ec);
  if (connections.size() >= options.limits.connections) {
    refused.fetch_add(1);
    constexpr std::string_view kBusy =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
        "Content-Length: 49\r\nConnection: close\r\n\r\n"
        "{\"error\":\"server busy: too many connections now\"}";
    socket.write_some(asio::buffer(kBusy), ec);
    socket.shutdown(tcp::socket::shutdown_send, ec);
    return;
  }
  std::string peer = ec ? std::string("?") : remote.address().to_string();
  auto connection = std::make_shared<Connection>(*this, std::move(socket), port, std::move(peer));
  connections.emplace(connection.get(), connection);
  open.store(connections.size());
  connection->start();
}

void Core::tick() {
  ticker.expires_after(kTick);
  ticker.async_wait([this](const error_code& ec) {
    if (ec) {
      return;
    }
    const Clock::time_point now = Clock::now();
    std::vector<std::shared_ptr<Connection>> all;
    all.reserve(connections.size());
    for (const auto& [key, connection] : connections) {
      all.push_back(connection);
    }
    for (const auto& connection : all) {
      connection->tick(now);
    }
    tick();
  });
}

void Core::drop(Connection* connection) {
  connections.erase(connection);
  const std::lock_guard lock(mutex);
  open.store(connections.size());
  empty.notify_all();
}

void Core::begin_drain() {
  draining = true;
  for (auto& acceptor : acceptors) {
    error_code ignored;
    acceptor->close(ignored);
  }
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [key, connection] : connections) {
    all.push_back(connection);
  }
  for (const auto& connection : all) {
    connection->drain();
  }
}

std::string Handler::error_body(std::string_view, int, std::string_view message) {
  return error_json(message);
}

struct HttpServer::Impl {
  std::shared_ptr<Core> core;
  std::jthread thread;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options, Handler& handler) {
  auto impl = std::make_unique<Impl>();
  impl->core = std::make_shared<Core>(std::move(options), handler);
  Core& core = *impl->core;
  for (const int fd : core.options.inherited) {
    error_code ec;
    auto acceptor = std::make_unique<tcp::acceptor>(core.io);
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    const bool known = ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    acceptor->assign(known && address.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), fd, ec);
    if (!known || ec) {
      return lm::fail(ErrorCode::io, "socket activation", "the socket handed over is no TCP socket",
                      "", ec.value());
    }
    core.acceptors.push_back(std::move(acceptor));
  }
  for (const ListenAddress& at : core.options.listen) {
    auto acceptor = listen_on(core.io, at);
    if (acceptor) {
      core.acceptors.push_back(std::move(*acceptor));
    } else if (!at.optional) {
      return std::unexpected(std::move(acceptor).error());
    }
  }
  for (const auto& acceptor : core.acceptors) {
    error_code ec;
    acceptor->non_blocking(true, ec);
    core.ports.push_back(acceptor->local_endpoint(ec).port());
  }
  for (std::size_t i = 0; i < core.acceptors.size(); ++i) {
    core.accept(i);
  }
  core.tick();
  impl->thread = std::jthread([&core] {
    for (;;) {
      try {
        core.io.run();
        return;
      } catch (const std::exception&) {
        // Want of memory in one callback; the other connections go on.
      }
    }
  });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() {
  impl_->core->io.stop();
  impl_->thread.join();
}

std::vector<std::uint16_t> HttpServer::ports() const {
  return impl_->core->ports;
}

HttpFigures HttpServer::figures() const {
  const Core& core = *impl_->core;
  return {core.open.load(), core.accepted.load(), core.requests.load(), core.refused.load()};
}

bool HttpServer::drain(std::chrono::milliseconds patience) {
  Core& core = *impl_->core;
  asio::post(core.io, [&core] { core.begin_drain(); });
  std::unique_lock lock(core.mutex);
  return core.empty.wait_for(lock, patience, [&core] { return core.open.load() == 0; });
}

}  // namespace lm::server
