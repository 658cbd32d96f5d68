#include "tests/server/http_client.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lm::test {
namespace {

constexpr std::chrono::milliseconds kPatience(60'000);

}  // namespace

RawClient::RawClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close();
  }
}

RawClient::~RawClient() {
  close();
}

void RawClient::close() {
  if (fd_ >= 0) {
    ::close(fd_);
    fd_ = -1;
  }
}

void RawClient::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close();
}

void RawClient::stop_sending() {
  ::shutdown(fd_, SHUT_WR);
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

bool RawClient::fill(std::chrono::milliseconds limit) {
  pollfd wait{fd_, POLLIN, 0};
  if (fd_ < 0 || ::poll(&wait, 1, static_cast<int>(limit.count())) <= 0) {
    return false;
  }
  std::array<char, 64 * 1024> piece{};
  const ssize_t n = ::recv(fd_, piece.data(), piece.size(), 0);
  if (n <= 0) {
    return false;
  }
  in_.append(piece.data(), static_cast<std::size_t>(n));
  return true;
}

std::string RawClient::read_some() {
  if (in_.empty()) {
    fill(kPatience);
  }
  std::string out;
  out.swap(in_);
  return out;
}

bool RawClient::closed_within(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    pollfd wait{fd_, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0) {
      return false;
    }
    std::array<char, 64 * 1024> piece{};
    if (::recv(fd_, piece.data(), piece.size(), 0) <= 0) {
      return true;
    }
  }
}

Response RawClient::read(bool head_only) {
  Response response;
  std::size_t end = 0;
  for (;;) {
    end = in_.find("\r\n\r\n");
    if (end != std::string::npos) {
      response.status = std::atoi(in_.c_str() + 9);
      if (response.status != 100) {
        break;
      }
      in_.erase(0, end + 4);
      continue;
    }
    if (!fill(kPatience)) {
      return {};
    }
  }
  std::size_t at = in_.find("\r\n") + 2;
  while (at < end + 2) {
    const std::size_t line_end = in_.find("\r\n", at);
    const std::size_t colon = in_.find(':', at);
    std::string name = in_.substr(at, colon - at);
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    response.fields[name] = in_.substr(colon + 2, line_end - colon - 2);
    at = line_end + 2;
  }
  in_.erase(0, end + 4);
  if (head_only || response.status == 204) {
    return response;
  }
  if (response.fields.contains("content-length")) {
    const std::size_t size = std::strtoull(response.fields["content-length"].c_str(), nullptr, 10);
    while (in_.size() < size && fill(kPatience)) {
    }
    response.body = in_.substr(0, size);
    in_.erase(0, size);
    return response;
  }
  if (response.fields["transfer-encoding"] != "chunked") {
    while (fill(kPatience)) {
    }
    response.body.swap(in_);
    return response;
  }
  for (;;) {
    const std::size_t line = in_.find("\r\n");
    if (line == std::string::npos) {
      if (!fill(kPatience)) {
        response.fields["cut"] = "1";
        return response;
      }
      continue;
    }
    const std::size_t size = std::strtoull(in_.c_str(), nullptr, 16);
    if (in_.size() < line + 2 + size + 2) {
      if (!fill(kPatience)) {
        response.fields["cut"] = "1";
        return response;
      }
      continue;
    }
    response.chunks.push_back(in_.substr(line + 2, size));
    response.body += response.chunks.back();
    in_.erase(0, line + 2 + size + 2);
    if (size == 0) {
      response.chunks.pop_back();
      return response;
    }
  }
}

std::string request_text(std::uint16_t port, std::string_view method, std::string_view path,
                         std::string_view body, std::string_view fields) {
  std::string text =
      fmt::format("{} {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}", method, path, port, fields);
  if (!body.empty()) {
    text += fmt::format("Content-Length: {}\r\n", body.size());
  }
  return text + "\r\n" + std::string(body);
}

Response ask(std::uint16_t port, std::string_view method, std::string_view path,
             std::string_view body, std::string_view fields) {
  RawClient client(port);
  client.send(request_text(port, method, path, body, fields));
  return client.read(method == "HEAD");
}

}  // namespace lm::test
