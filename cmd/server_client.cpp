#include "cmd/server_client.h"

#include <array>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmd/settings.h"
#include "registry/untrusted_json.h"
#include "server/http/api_keys.h"
#include "store/fd.h"

namespace lm::cmd {
namespace {

constexpr std::size_t kMaxAnswer = 64u << 20;
// For a connection, and for each piece of an answer.
constexpr timeval kPatience{30, 0};

/// A client told to call "any address" calls this machine.
std::string host_to_call(const ServerAddress& address) {
  const bool any = address.host.empty() || address.host == "0.0.0.0" || address.host == "::";
  return any ? "127.0.0.1" : address.host;
}

Result<store::Fd> connected(const ServerAddress& address) {
  const std::string host = host_to_call(address);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = fmt::format("{}", address.port);
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return failure("not_running", host, "is no known host", "correct LM_HOST");
  }
  store::Fd fd;
  for (const addrinfo* at = found; at != nullptr && !fd; at = at->ai_next) {
    store::Fd one(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::setsockopt(one.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
    ::setsockopt(one.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
    if (one && ::connect(one.get(), at->ai_addr, at->ai_addrlen) == 0) {
      fd = std::move(one);
    }
  }
  ::freeaddrinfo(found);
  if (!fd) {
    return failure("not_running", fmt::format("{}:{}", host, address.port), "no server answers",
                   "start one: lm serve");
  }
  return fd;
}

std::string dechunked(std::string_view text) {
  std::string out;
  while (true) {
    const std::size_t line = text.find("\r\n");
    if (line == std::string_view::npos) {
      return out;
    }
    const std::size_t size = std::strtoull(std::string(text.substr(0, line)).c_str(), nullptr, 16);
    if (size == 0 || size > text.size() - line - 2) {
      return out;
    }
    out += text.substr(line + 2, size);
    text.remove_prefix(std::min(text.size(), line + 2 + size + 2));
  }
}

/// A server that has answered already may read no further: then that answer counts.
void send_all(int fd, std::string_view rest) {
  while (!rest.empty()) {
    const ssize_t n = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// Takes the chunk framing away as bytes come.
class Dechunker {
 public:
  void take(std::string_view bytes, std::string& out) {
    for (const char c : bytes) {
      if (left_ > 0) {
        out += c;
        --left_;
      } else if (c == '\n') {
        left_ = std::strtoull(line_.c_str(), nullptr, 16);
        line_.clear();
      } else if (c != '\r') {
        line_ += c;
      }
    }
  }

 private:
  std::uint64_t left_ = 0;
  std::string line_;
};

}  // namespace

std::string ServerClient::name() const {
  const std::string host = host_to_call(address_);
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, address_.port)
                                             : fmt::format("[{}]:{}", host, address_.port);
}

Result<std::string> ServerClient::request_text(std::string_view method, std::string_view path,
                                               std::string_view body) const {
  std::string text =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", method, path, name());
  LM_TRY(const SettingValue keys, setting("LM_API_KEY"));
  if (const auto list = server::split_keys(keys.text); !list.empty()) {
    text += fmt::format("Authorization: Bearer {}\r\n", list.front());
  }
  if (!body.empty()) {
    text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  }
  text += "\r\n";
  text += body;
  return text;
}

Result<ServerReply> ServerClient::ask(std::string_view method, std::string_view path,
                                      std::string_view body) const {
  LM_TRY(const store::Fd fd, connected(address_));
  LM_TRY(const std::string text, request_text(method, path, body));
  send_all(fd.get(), text);
  std::string answer;
  std::array<char, 16 * 1024> piece;
  for (;;) {
    const ssize_t n = ::recv(fd.get(), piece.data(), piece.size(), 0);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0 || answer.size() > kMaxAnswer) {
      break;
    }
    answer.append(piece.data(), static_cast<std::size_t>(n));
  }
  const std::size_t end = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.") || end == std::string::npos) {
    return failure("other_program", name(), "does not speak HTTP",
                   "choose another address: LM_HOST");
  }
  ServerReply reply{.status = std::atoi(answer.c_str() + 9), .body = answer.substr(end + 4)};
  if (answer.substr(0, end).find("Transfer-Encoding: chunked") != std::string::npos) {
    reply.body = dechunked(reply.body);
  }
  return reply;
}

Result<int> ServerClient::stream(std::string_view path, std::string_view body,
                                 const std::function<bool(const std::string&)>& on_line,
                                 const std::atomic<bool>& stop) const {
  LM_TRY(const store::Fd fd, connected(address_));
  LM_TRY(const std::string text, request_text("POST", path, body));
  send_all(fd.get(), text);
  std::string head, lines;
  Dechunker dechunk;
  bool chunked = false;
  int status = 0;
  std::array<char, 16 * 1024> piece;
  while (!stop.load()) {
    pollfd wait{fd.get(), POLLIN, 0};
    if (::poll(&wait, 1, 20) <= 0) {
      continue;
    }
    const ssize_t n = ::recv(fd.get(), piece.data(), piece.size(), 0);
    if (n <= 0) {
      break;
    }
    std::string_view bytes(piece.data(), static_cast<std::size_t>(n));
    std::string rest;
    if (status == 0) {
      head += bytes;
      const std::size_t end = head.find("\r\n\r\n");
      if (end == std::string::npos) {
        continue;
      }
      status = std::atoi(head.c_str() + std::min<std::size_t>(9, head.size()));
      rest = head.substr(end + 4);
      head.resize(end);
      chunked = head.find("Transfer-Encoding: chunked") != std::string::npos;
      bytes = rest;
    }
    if (chunked) {
      dechunk.take(bytes, lines);
    } else {
      lines += bytes;
    }
    for (std::size_t at = lines.find('\n'); at != std::string::npos; at = lines.find('\n')) {
      const std::string one = lines.substr(0, at);
      lines.erase(0, at + 1);
      if (!on_line(one)) {
        return status;
      }
    }
  }
  if (!lines.empty() && !stop.load()) {
    on_line(lines);  // an answer of one piece ends without a line break
  }
  return status;
}

Result<nlohmann::json> ServerClient::ask_json(std::string_view method, std::string_view path,
                                              std::string_view body) const {
  LM_TRY(const ServerReply reply, ask(method, path, body));
  auto document = registry::parse_untrusted(reply.body);
  if (reply.status >= 400) {
    const std::string words = document ? registry::string_at(*document, "error") : std::string();
    return failure(reply.status == 404 ? "not_found" : "failed", name(),
                   words.empty() ? fmt::format("answers with status {}", reply.status) : words,
                   reply.status == 401 ? "set LM_API_KEY" : "");
  }
  if (!document || !document->is_object()) {
    return failure("other_program", name(), "answers in a way that lm does not");
  }
  return std::move(*document);
}

std::optional<FoundServer> ServerClient::look() const {
  auto reply = ask("GET", "/api/version");
  if (!reply) {
    if (reply.error().code == "not_running") {
      return std::nullopt;
    }
    return FoundServer{};
  }
  FoundServer found;
  if (const auto document = registry::parse_untrusted(reply->body);
      document && document->is_object()) {
    found.lm_version = registry::string_at(*document, "lm_version");
    found.version = registry::string_at(*document, "version");
    found.store_id = registry::string_at(*document, "store");
  }
  return found;
}

Result<ServerClient> running_server() {
  LM_TRY(const ServerAddress address, server_address(std::nullopt));
  ServerClient client(address);
  LM_TRY(const ServerReply reply, client.ask("GET", "/api/version"));
  const auto document = registry::parse_untrusted(reply.body);
  if (reply.status == 401) {
    return failure("unauthorized", client.name(), "wants an API key", "set LM_API_KEY");
  }
  if (!document || !document->is_object() || registry::string_at(*document, "lm_version").empty()) {
    const bool peer = document && document->is_object() && document->contains("version");
    return failure("other_program", client.name(),
                   peer ? fmt::format("is an Ollama {} server, not lm",
                                      registry::string_at(*document, "version"))
                        : "is another program, not lm",
                   "choose another address: LM_HOST");
  }
  return client;
}

}  // namespace lm::cmd
