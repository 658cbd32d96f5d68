// The client's own rules over real sockets: certificates, where a token may go, proxies.
#include "registry/http.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/registry/pull_fixture.h"
#include "tests/support/loopback_http.h"

namespace lm::registry {
namespace LM_FILE {

/// A key and a certificate for 127.0.0.1 that nobody has signed but itself.
struct SelfSigned {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();

  SelfSigned() {
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("lm test"), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_EXTENSION* address =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(certificate, address, -1);
    X509_EXTENSION_free(address);
    X509_sign(certificate, key, EVP_sha256());
  }
  ~SelfSigned() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  void write_pem(const std::filesystem::path& path) const {
    FILE* file = std::fopen(path.c_str(), "w");
    PEM_write_X509(file, certificate);
    std::fclose(file);
  }
};

/// Answers each https request with the text `answer` gives for its head; one connection after the
/// other.
class TlsServer {
 public:
  using Answer = std::function<std::string(const std::string& head)>;
  TlsServer(const SelfSigned& identity, Answer answer) : answer_(std::move(answer)) {
    std::signal(SIGPIPE, SIG_IGN);  // clients of these tests hang up in the handshake
    context_ = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context_, identity.certificate);
    SSL_CTX_use_PrivateKey(context_, identity.key);
    listen_fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listen_fd_, 16), 0);
    ::getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~TlsServer() {
    stopping_ = true;
    thread_.join();
    ::close(listen_fd_);
    SSL_CTX_free(context_);
  }
  std::string origin() const { return fmt::format("https://127.0.0.1:{}", port_); }
  std::vector<std::string> heads() const {
    const std::scoped_lock lock(mutex_);
    return heads_;
  }

 private:
  void serve() {
    while (!stopping_) {
      pollfd state{.fd = listen_fd_, .events = POLLIN, .revents = 0};
      if (::poll(&state, 1, 20) <= 0) {
        continue;
      }
      const int fd = ::accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
      const timeval patience{.tv_sec = 10, .tv_usec = 0};
      ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      SSL* ssl = SSL_new(context_);
      SSL_set_fd(ssl, fd);
      if (SSL_accept(ssl) == 1) {
        std::string head;
        char block[4096];
        while (head.find("\r\n\r\n") == head.npos) {
          const int got = SSL_read(ssl, block, sizeof block);
          if (got <= 0) {
            break;
          }
          head.append(block, static_cast<std::size_t>(got));
        }
        const std::string text = answer_(head);
        SSL_write(ssl, text.data(), static_cast<int>(text.size()));
        SSL_shutdown(ssl);
        const std::scoped_lock lock(mutex_);
        heads_.push_back(head);
      }
      ERR_clear_error();
      SSL_free(ssl);
      ::close(fd);
    }
  }

  Answer answer_;
  SSL_CTX* context_ = nullptr;
  int listen_fd_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;  // guards heads_
  std::vector<std::string> heads_;
  std::thread thread_;
};

std::string answer(int status, const std::string& fields, const std::string& body = {}) {
  return fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n{}", status,
                     body.size(), fields, body);
}

class HttpTest : public ::testing::Test {
 protected:
  HttpTest() {
    for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy",
                             "NO_PROXY", "no_proxy"}) {
      ::unsetenv(name);
    }
    settings_.tuning = quick_tuning();
  }
  void trust(const SelfSigned& identity) {
    identity.write_pem(folder_.path() / "ca.pem");
    settings_.ca_file = (folder_.path() / "ca.pem").string();
  }
  Result<HttpResponse> get(const std::string& url, bool following = false) {
    HttpClient client(settings_, stop_, {});
    HttpRequest request{.url = *Url::parse(url)};
    return following ? client.fetch_following(request) : client.fetch(request);
  }
  static bool has_token(const std::string& head) {
    return head.find("hf_secret") != std::string::npos;
  }

  TempFolder folder_;
  HubSettings settings_;
  std::atomic<bool> stop_{false};
};

TEST_F(HttpTest, RefusesACertificateNobodyVouchesFor) {
  const SelfSigned identity;
  TlsServer server(identity, [](const std::string&) { return answer(200, "", "hello"); });
  const auto response = get(server.origin() + "/x");
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::protocol);  // another try would not help
  EXPECT_NE(response.error().problem.find("not trusted"), std::string::npos);
  EXPECT_NE(response.error().hint.find("SSL_CERT_FILE"), std::string::npos);
  EXPECT_TRUE(server.heads().empty());
}

TEST_F(HttpTest, TrustsACertificateOfTheUsers) {
  const SelfSigned identity;
  TlsServer server(identity, [](const std::string&) { return answer(200, "", "hello"); });
  trust(identity);
  const auto response = get(server.origin() + "/x");
  ASSERT_TRUE(response) << response.error().problem;
  EXPECT_EQ(response->body, "hello");
}

TEST_F(HttpTest, SaysWhichCertificateFileIsBad) {
  const SelfSigned identity;
  TlsServer server(identity, [](const std::string&) { return answer(200, "", "hello"); });
  settings_.ca_file = (folder_.path() / "missing.pem").string();
  const auto response = get(server.origin() + "/x");
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::protocol);
}

TEST_F(HttpTest, NeverStepsDownFromHttpsToHttp) {
  const SelfSigned identity;
  test::LoopbackHttp plain([](const test::ServerRequest&, test::Wire& wire) {
    wire.send("HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n");
  });
  TlsServer server(identity, [&](const std::string&) {
    return answer(302, "Location: " + plain.origin() + "/y\r\n");
  });
  trust(identity);
  const auto response = get(server.origin() + "/x", true);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::protocol);
  EXPECT_NE(response.error().problem.find("https to http"), std::string::npos);
  EXPECT_EQ(plain.connections_most(), 0);
}

TEST_F(HttpTest, SendsTheTokenToTheEndpointOnly) {
  const SelfSigned identity;
  TlsServer cdn(identity, [](const std::string&) { return answer(200, "", "bytes"); });
  TlsServer hub(identity, [&](const std::string& head) {
    return head.starts_with("GET /away")   ? answer(302, "Location: " + cdn.origin() + "/f\r\n")
           : head.starts_with("GET /near") ? answer(307, "Location: /here\r\n")
                                           : answer(200, "", "here");
  });
  trust(identity);
  settings_.endpoint = hub.origin();
  settings_.token = Secret("hf_secret");
  EXPECT_EQ(get(hub.origin() + "/near", true)->body, "here");
  EXPECT_EQ(get(hub.origin() + "/away", true)->body, "bytes");
  EXPECT_EQ(get(cdn.origin() + "/direct")->body, "bytes");
  const auto at_hub = hub.heads();
  EXPECT_EQ(at_hub.size(), 3u);
  EXPECT_TRUE(std::all_of(at_hub.begin(), at_hub.end(), has_token));
  const auto at_cdn = cdn.heads();
  EXPECT_EQ(at_cdn.size(), 2u);
  EXPECT_TRUE(std::none_of(at_cdn.begin(), at_cdn.end(), has_token));
}

TEST_F(HttpTest, AsksForNoEncodingAndNamesItself) {
  std::string encoding;
  std::string agent;
  test::LoopbackHttp server([&](const test::ServerRequest& request, test::Wire& wire) {
    encoding = request.header("accept-encoding");
    agent = request.header("user-agent");
    wire.send("HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n");
  });
  ASSERT_TRUE(get(server.origin() + "/x"));
  EXPECT_EQ(encoding, "identity");
  EXPECT_TRUE(agent.starts_with("lm/"));
}

TEST_F(HttpTest, GoesThroughTheProxyOfTheEnvironment) {
  std::vector<std::string> targets;
  test::LoopbackHttp proxy([&](const test::ServerRequest& request, test::Wire& wire) {
    targets.push_back(request.target);
    wire.send("HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok");
  });
  ::setenv("http_proxy", proxy.origin().c_str(), 1);
  const auto response = get("http://hub.invalid/api");
  ASSERT_TRUE(response) << response.error().problem;
  EXPECT_EQ(response->body, "ok");
  EXPECT_EQ(targets, std::vector<std::string>{"http://hub.invalid/api"});
  ::setenv("no_proxy", "127.0.0.1", 1);
  ASSERT_TRUE(get(proxy.origin() + "/direct"));
  EXPECT_EQ(targets.back(), "/direct");
  ::unsetenv("http_proxy");
  ::unsetenv("no_proxy");
}

TEST_F(HttpTest, KeepsHeaderFieldsWithinBounds) {
  test::LoopbackHttp server([](const test::ServerRequest&, test::Wire& wire) {
    std::string head = "HTTP/1.1 200 X\r\nContent-Length: 0\r\n";
    for (int i = 0; i < 1000; ++i) {
      head += fmt::format("X-F{}: {}\r\n", i, std::string(100, 'v'));
    }
    wire.send(head + "\r\n");
  });
  const auto response = get(server.origin() + "/x");
  // libcurl may refuse so long a head; if it doesn't, only the first fields are kept.
  if (response) {
    EXPECT_TRUE(response->headers.has("x-f5"));
    EXPECT_FALSE(response->headers.has("x-f500"));
  }
}

TEST_F(HttpTest, StopsAtOnceWhenTold) {
  test::LoopbackHttp server([this](const test::ServerRequest&, test::Wire& wire) {
    stop_ = true;
    wire.sleep_ms(60'000);
  });
  const auto response = get(server.origin() + "/x");
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, ErrorCode::interrupted);
}

}  // namespace LM_FILE
}  // namespace lm::registry
