// Host and Origin: who may ask, spelling by spelling.
#include "server/http/browser_guard.h"

#include <gtest/gtest.h>

#include "server/http/api_keys.h"

namespace lm::server {
namespace LM_FILE {

RequestHead head_with(std::vector<std::pair<std::string, std::string>> fields) {
  RequestHead head;
  head.method = "POST";
  head.path = "/api/chat";
  head.fields = std::move(fields);
  return head;
}

const BrowserGuardSettings kSettings{
    .allowed_hosts = {"lm.example.com", "*.corp.example", "x:8443"},
    .origins = {"https://chat.example.com", "http://*.apps.example:*", "ftp://f.example"},
    .host_name = "box",
    .interfaces = {"203.0.113.7", "2001:db8::7"}};

TEST(BrowserGuard, TakesHostsOfThisMachineOnly) {
  const BrowserGuard guard(kSettings);
  const auto status = [&guard](const std::string& host) {
    return guard.check(head_with({{"host", host}}), 11434).status;
  };
  for (const char* host : {"localhost",
                           "localhost:11434",
                           "LOCALHOST:11434",
                           "localhost.",
                           "127.0.0.1",
                           "127.0.0.1:11434",
                           "127.1.2.3",
                           "[::1]",
                           "[::1]:11434",
                           "0.0.0.0:11434",
                           "[::]",
                           "box",
                           "a.localhost",
                           "pi.local:11434",
                           "host.docker.internal:11434",
                           "10.1.2.3",
                           "172.16.0.1",
                           "192.168.7.9:11434",
                           "[fd00::1]",
                           "[fe80::1]",
                           "[::ffff:127.0.0.1]",
                           "203.0.113.7",
                           "[2001:db8::7]:11434",
                           "lm.example.com",
                           "lm.example.com:11434",
                           "a.corp.example",
                           "a.b.corp.example",
                           "x:8443"}) {
    EXPECT_EQ(status(host), 0) << host;
  }
  for (const char* host : {"example.com",
                           "localhost.evil.example",
                           "evillocalhost",
                           "localhost:80",
                           "127.0.0.1:11435",
                           "8.8.8.8",
                           "172.32.0.1",
                           "127.1",
                           "2130706433",
                           "0x7f.1",
                           "[2001:db8::8]",
                           "[::1",
                           "box.com",
                           "corp.example",
                           "evil-corp.example",
                           "lm.example.com:9",
                           "x",
                           "x:8444",
                           "localhost:11434:1",
                           "localhost:",
                           "a b",
                           "local",
                           "*",
                           "*.localhost",
                           "localhost:*",
                           "user@localhost",
                           "[::ffff:8.8.8.8]",
                           "localhost/",
                           "localhost\\"}) {
    EXPECT_EQ(status(host), 403) << host;
  }
  EXPECT_EQ(status(""), 400);
  EXPECT_EQ(guard.check(head_with({}), 11434).status, 400);
  EXPECT_EQ(guard.check(head_with({{"host", "localhost"}, {"host", "localhost"}}), 11434).status,
            400);
}

TEST(BrowserGuard, TakesOriginsThatAreListed) {
  const BrowserGuard guard(kSettings);
  const auto verdict = [&guard](const std::string& origin) {
    return guard.check(head_with({{"host", "lm.example.com"}, {"origin", origin}}), 11434);
  };
  for (const char* origin :
       {"http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:5",
        "https://0.0.0.0", "app://obsidian.md", "tauri://localhost", "vscode-webview://abc",
        "vscode-file://vscode-app", "file://", "https://lm.example.com", "http://lm.example.com",
        "https://chat.example.com", "http://a.apps.example:99", "http://a.apps.example",
        "ftp://f.example"}) {
    EXPECT_EQ(verdict(origin).status, 0) << origin;
    EXPECT_EQ(verdict(origin).allowed_origin, origin);
  }
  for (const char* origin :
       {"null", "", "http://localhost.evil.example", "http://evil.example",
        "https://localhost@evil.example", "http://localhost:3000/path", "file://host",
        "http://chat.example.com", "https://chat.example.com:444",
        "https://chat.example.com.evil.example", "http://apps.example:99", "https://a.apps.example",
        "javascript:alert(1)", "localhost", "http://localhost#", "http://*", "http://*:*",
        "http://localhost:*"}) {
    EXPECT_EQ(verdict(origin).status, 403) << origin;
  }
  EXPECT_EQ(BrowserGuard({.origins = {"*"}})
                .check(head_with({{"host", "localhost"}, {"origin", "https://any.example"}}), 1)
                .status,
            0);
  EXPECT_EQ(BrowserGuard({.origins = {"*"}})
                .check(head_with({{"host", "localhost"}, {"origin", "null"}}), 1)
                .status,
            403);
}

TEST(BrowserGuard, RefusesOtherSitesRequestsWithoutAnOrigin) {
  const BrowserGuard guard(kSettings);
  RequestHead head = head_with({{"host", "localhost"}, {"sec-fetch-site", "cross-site"}});
  EXPECT_EQ(guard.check(head, 1).status, 403);
  head = head_with({{"host", "localhost"},
                    {"sec-fetch-site", "cross-site"},
                    {"sec-fetch-mode", "navigate"},
                    {"sec-fetch-dest", "document"}});
  EXPECT_EQ(guard.check(head, 1).status, 403);
  head.method = "GET";
  head.path = "/";
  EXPECT_EQ(guard.check(head, 1).status, 0);
  head = head_with({{"host", "localhost"},
                    {"sec-fetch-site", "cross-site"},
                    {"origin", "http://localhost:3000"}});
  EXPECT_EQ(guard.check(head, 1).status, 0);
}

TEST(ApiKeys, KnowsItsKeys) {
  const ApiKeys keys(split_keys(" alpha ,\nbeta\n,"));
  EXPECT_TRUE(keys.allows(head_with({{"authorization", "Bearer alpha"}})));
  EXPECT_TRUE(keys.allows(head_with({{"authorization", "bearer beta"}})));
  EXPECT_TRUE(keys.allows(head_with({{"x-api-key", "beta"}})));
  EXPECT_TRUE(keys.allows(head_with({{"authorization", "Bearer x"}, {"x-api-key", "beta"}})));
  for (const char* shown : {"", "alph", "alphaa", "Alpha", "alphaalpha", "gamma"}) {
    EXPECT_FALSE(keys.allows(head_with({{"x-api-key", shown}}))) << shown;
    EXPECT_FALSE(keys.allows(head_with({{"authorization", std::string("Bearer ") + shown}})));
  }
  EXPECT_FALSE(keys.allows(head_with({{"authorization", "Basic alpha"}})));
  EXPECT_FALSE(keys.allows(head_with({})));
  EXPECT_TRUE(ApiKeys().allows(head_with({})));
}

}  // namespace LM_FILE
}  // namespace lm::server
