#include "tests/support/loopback_http.h"

#include <chrono>
#include <csignal>
#include <stdexcept>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lm::test {
namespace {

constexpr std::size_t kMaxHead = 64 << 10;

std::string lower(std::string text) {
  for (char& c : text) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return text;
}

std::string strip(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  return std::string(text);
}

class SocketWire : public Wire {
 public:
  SocketWire(int fd, const std::atomic<bool>& stopping) : fd_(fd), stopping_(stopping) {}

  bool send(std::string_view bytes) override {
    while (!bytes.empty() && !closed_ && !stopping_) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) {
        closed_ = true;
        return false;
      }
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return !closed_ && !stopping_;
  }
  void reset() override {
    const linger abort{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    closed_ = true;
  }
  void close() override { closed_ = true; }
  bool sleep_ms(int ms) override {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (std::chrono::steady_clock::now() < until) {
      pollfd state{.fd = fd_, .events = POLLRDHUP, .revents = 0};
      if (stopping_ || closed_ || ::poll(&state, 1, 5) < 0 ||
          (state.revents & (POLLRDHUP | POLLERR | POLLHUP)) != 0) {
        return false;
      }
    }
    return true;
  }
  bool closed() const { return closed_; }

 private:
  int fd_;
  const std::atomic<bool>& stopping_;
  bool closed_ = false;
};

ServerRequest parse_head(std::string_view head) {
  ServerRequest request;
  std::size_t line_end = head.find("\r\n");
  const std::string_view first = head.substr(0, line_end);
  const std::size_t one = first.find(' ');
  const std::size_t two = first.rfind(' ');
  if (one != first.npos && two > one) {
    request.method = std::string(first.substr(0, one));
    request.target = std::string(first.substr(one + 1, two - one - 1));
    request.path = percent_decoded(request.target.substr(0, request.target.find('?')));
  }
  while (line_end != head.npos) {
    const std::size_t start = line_end + 2;
    line_end = head.find("\r\n", start);
    const std::string_view line = head.substr(start, line_end - start);
    const std::size_t colon = line.find(':');
    if (colon != line.npos) {
      request.headers[lower(std::string(line.substr(0, colon)))] = strip(line.substr(colon + 1));
    }
  }
  return request;
}

}  // namespace

std::string ServerRequest::header(const std::string& name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? "" : it->second;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

LoopbackHttp::LoopbackHttp(Handler handler) : handler_(std::move(handler)) {
  // As every program of ours does: a peer that hangs up in a TLS handshake must not end the
  // process.
  std::signal(SIGPIPE, SIG_IGN);
  listen_fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(listen_fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listen_fd_, 128) != 0 ||
      ::getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("test server: no loopback port");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_loop(); });
}

LoopbackHttp::~LoopbackHttp() {
  stopping_ = true;
  acceptor_.join();
  ::close(listen_fd_);
  std::unique_lock lock(mutex_);
  for (const int fd : fds_) {
    ::shutdown(fd, SHUT_RDWR);
  }
  idle_.wait(lock, [this] { return fds_.empty(); });
}

std::string LoopbackHttp::origin() const {
  return fmt::format("http://127.0.0.1:{}", port_);
}

void LoopbackHttp::accept_loop() {
  while (!stopping_) {
    pollfd state{.fd = listen_fd_, .events = POLLIN, .revents = 0};
    if (::poll(&state, 1, 20) <= 0) {
      continue;
    }
    const int fd = ::accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      continue;
    }
    const int yes = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    {
      const std::scoped_lock lock(mutex_);
      fds_.insert(fd);
    }
    most_ = std::max(most_.load(), ++open_);
    std::thread([this, fd] { serve(fd); }).detach();
  }
}

void LoopbackHttp::serve(int fd) {
  {
    SocketWire wire(fd, stopping_);
    std::string buffer;
    while (!stopping_ && !wire.closed()) {
      const std::size_t end = buffer.find("\r\n\r\n");
      if (end != buffer.npos) {
        const ServerRequest request = parse_head(std::string_view(buffer).substr(0, end));
        buffer.erase(0, end + 4);
        handler_(request, wire);
        continue;
      }
      char block[8192];
      const ssize_t got = ::recv(fd, block, sizeof block, 0);
      if (got <= 0 || buffer.size() > kMaxHead) {
        break;
      }
      buffer.append(block, static_cast<std::size_t>(got));
    }
  }
  --open_;
  // The last touch of this object: the destructor waits for it under the same lock.
  const std::scoped_lock lock(mutex_);
  ::close(fd);
  fds_.erase(fd);
  idle_.notify_all();
}

}  // namespace lm::test
