// Requests as bytes: what is taken, what is refused, and that pieces of any size give the same.
#include "server/http/request_parser.h"

#include <gtest/gtest.h>

namespace lm::server {
namespace LM_FILE {

struct Outcome {
  int status = 0;  ///< 0: taken
  std::string method, path, query, body;
  std::size_t left = 0;
  bool complete = false;
  bool operator==(const Outcome&) const = default;
};

Outcome parse(std::string_view bytes, std::size_t piece, ParserLimits limits = {}) {
  RequestParser parser(limits);
  Outcome out;
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, piece);
    const std::size_t n = parser.feed(part, out.body);
    bytes.remove_prefix(n);
    if (parser.state() == RequestParser::State::failed) {
      out.status = parser.status();
      out.body.clear();
      return out;
    }
    if (parser.state() == RequestParser::State::done) {
      out.complete = true;
      break;
    }
    if (n == 0 && parser.state() == RequestParser::State::head) {
      ADD_FAILURE() << "no progress";
      break;
    }
  }
  out.method = parser.head().method;
  out.path = parser.head().path;
  out.query = parser.head().query;
  out.left = bytes.size();
  return out;
}

Outcome parse_all_ways(std::string_view bytes, ParserLimits limits = {}) {
  const Outcome whole = parse(bytes, bytes.size() + 1, limits);
  for (const std::size_t piece : {1u, 2u, 3u, 7u, 64u}) {
    EXPECT_EQ(parse(bytes, piece, limits), whole) << "pieces of " << piece << " of\n" << bytes;
  }
  return whole;
}

std::string post(std::string_view fields, std::string_view rest) {
  return "POST /x HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\n" + std::string(rest);
}

TEST(RequestParser, TakesWhatClientsSend) {
  Outcome out = parse_all_ways("GET /v1/models/m%3Alatest?x=1&y HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(out.status, 0);
  EXPECT_TRUE(out.complete);
  EXPECT_EQ(out.path, "/v1/models/m:latest");
  EXPECT_EQ(out.query, "x=1&y");
  out = parse_all_ways(post("Content-Length: 5\r\n", "helloGET / HTTP/1.1\r\n"));
  EXPECT_EQ(out.body, "hello");
  EXPECT_EQ(out.left, 16u);
  out = parse_all_ways(
      post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nX: y\r\n\r\nrest"));
  EXPECT_TRUE(out.complete);
  EXPECT_EQ(out.body, "hello!");
  EXPECT_EQ(out.left, 4u);
  out = parse_all_ways("\r\nHEAD / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(out.method, "HEAD");
  EXPECT_TRUE(out.complete);
}

TEST(RequestParser, RefusesWhatLetsRequestsBeSmuggled) {
  const std::string nul("GET /\0 HTTP/1.1\r\n\r\n", 19);
  const std::vector<std::string> bad{
      post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
      post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
      post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
      post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
      post("Transfer-Encoding: identity\r\n", "x"),
      post("Content-Length: +5\r\n", "hello"),
      post("Content-Length: 5, 5\r\n", "hello"),
      post("Content-Length: 0x5\r\n", "hello"),
      post("Content-Length:\r\n", "hello"),
      post("Content-Length: 99999999999999999999\r\n", "hello"),
      post("Content-Length : 5\r\n", "hello"),
      post("X: a\r\n folded\r\n", ""),
      post("X: a\r\n\tfolded\r\n", ""),
      post(": empty\r\n", ""),
      post("No colon\r\n", ""),
      post("X: a\rb\r\n", ""),
      post(std::string("X: a\0b\r\n", 8), ""),
      post("X: a\x01\r\n", ""),
      post("B\xc3\xa4: x\r\n", ""),
      "GET / HTTP/1.1\nHost: h\n\n",
      "GET / HTTP/1.1\r\nHost: h\n\r\n",
      "GET  / HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1 \r\n\r\n",
      "GET /\r\n\r\n",
      "GET / HTTX/1.1\r\n\r\n",
      "G@T / HTTP/1.1\r\n\r\n",
      "GET http://h/ HTTP/1.1\r\n\r\n",
      "GET h HTTP/1.1\r\n\r\n",
      "GET * HTTP/1.1\r\n\r\n",
      "GET /%0 HTTP/1.1\r\n\r\n",
      "GET /%zz HTTP/1.1\r\n\r\n",
      "GET /%00 HTTP/1.1\r\n\r\n",
      "GET /\xc3\xa4 HTTP/1.1\r\n\r\n",
      nul,
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      post("Transfer-Encoding: chunked\r\n", "5\r\nhelloX\r\n0\r\n\r\n"),
      post("Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n"),
      post("Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n"),
      post("Transfer-Encoding: chunked\r\n", "5 x\r\nhello\r\n0\r\n\r\n"),
      post("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
      post("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"),
      post("Transfer-Encoding: chunked\r\n", "5;" + std::string(2000, 'x') + "\r\nhello\r\n"),
      post("Transfer-Encoding: chunked\r\n", "0\r\nX: " + std::string(9000, 'x') + "\r\n\r\n"),
  };
  for (const std::string& text : bad) {
    EXPECT_EQ(parse_all_ways(text).status, 400) << text;
  }
  EXPECT_EQ(parse_all_ways("GET / HTTP/2.0\r\n\r\n").status, 505);
  std::printf("%zu requests refused\n", bad.size() + 1);
}

TEST(RequestParser, KeepsItsLimits) {
  ParserLimits limits;
  EXPECT_EQ(parse_all_ways("GET /" + std::string(33'000, 'a')).status, 431);
  EXPECT_EQ(parse_all_ways(post("X: " + std::string(33'000, 'a') + "\r\n", "")).status, 431);
  std::string many;
  for (int i = 0; i < 100; ++i) {
    many += "X: y\r\n";
  }
  EXPECT_EQ(parse_all_ways(post(many, "")).status, 431);  // with Host: 101
  limits.body_bytes = 8;
  EXPECT_EQ(
      parse_all_ways(
          post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n"), limits)
          .status,
      413);
}

}  // namespace LM_FILE
}  // namespace lm::server
