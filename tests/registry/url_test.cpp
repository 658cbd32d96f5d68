#include "registry/url.h"

#include <gtest/gtest.h>

#include "registry/hub_client.h"
#include "registry/retry.h"

namespace lm::registry {
namespace LM_FILE {

TEST(Url, ComparesOriginsNotSpellings) {
  const auto url = [](const char* text) { return *Url::parse(text); };
  EXPECT_TRUE(url("https://Hub.example/a").same_origin(url("https://hub.EXAMPLE:443/b")));
  EXPECT_FALSE(url("https://hub.example").same_origin(url("http://hub.example")));
  EXPECT_FALSE(url("https://hub.example").same_origin(url("https://hub.example:444")));
  EXPECT_FALSE(url("https://hub.example").same_origin(url("https://hub.example.evil.org")));
  EXPECT_FALSE(url("https://hub.example").same_origin(url("https://cdn.hub.example")));
  EXPECT_EQ(url("https://hub.example/p?sig=secret").for_display(), "https://hub.example/p");
  EXPECT_EQ(url("http://127.0.0.1:8080/p").for_display(), "http://127.0.0.1:8080/p");
  EXPECT_TRUE(url("http://[::1]:80/").is_loopback());
  EXPECT_FALSE(Url::parse("gopher://x/"));
  EXPECT_FALSE(Url::parse(""));
}

TEST(FollowLocation, KeepsToItsRules) {
  const Url secure = *Url::parse("https://hub.example/a/b?x=1");
  const Url plain = *Url::parse("http://127.0.0.1:1/a/b");
  EXPECT_EQ(follow_location(secure, "/c")->text, "https://hub.example/c");
  EXPECT_EQ(follow_location(secure, "https://cdn.example/y?s=1")->host, "cdn.example");
  EXPECT_EQ(follow_location(secure, "//cdn.example/y")->scheme, "https");
  EXPECT_EQ(follow_location(plain, "https://cdn.example/y")->scheme, "https");
  for (const char* bad : {"http://hub.example/a", "http://cdn.example/y", "file:///etc/passwd", "",
                          "ftp://x/y", "https://user:pw@host/", "gopher://127.0.0.1:25/"}) {
    EXPECT_FALSE(follow_location(secure, bad)) << bad;
  }
  EXPECT_EQ(follow_location(secure, "http://cdn.example/y").error().code, ErrorCode::protocol);
  EXPECT_FALSE(follow_location(plain, std::string(20'000, 'a')));
}

TEST(Url, EncodesAndMovesToTheEndpoint) {
  EXPECT_EQ(percent_encoded("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(percent_encoded("a b/c%d?e#f", true), "a%20b/c%25d%3Fe%23f");
  EXPECT_EQ(on_endpoint("https://huggingface.co/api/x?c=1", "http://m:1/hub"),
            "http://m:1/hub/api/x?c=1");
  EXPECT_EQ(on_endpoint("https://hf.co", "http://m"), "http://m");
  EXPECT_EQ(on_endpoint("https://huggingface.co.evil.org/x", "http://m"),
            "https://huggingface.co.evil.org/x");
  EXPECT_EQ(on_endpoint("/relative", "http://m"), "/relative");
}

TEST(Url, KnowsWhenAnAddressExpires) {
  EXPECT_EQ(expiry_of(*Url::parse("https://c/x?Expires=1700000000&Signature=a")), 1700000000);
  EXPECT_EQ(expiry_of(*Url::parse("https://c/x?X-Amz-Date=20260821T120000Z&X-Amz-Expires=3600")),
            1787317200);
  EXPECT_FALSE(expiry_of(*Url::parse("https://c/x")));
  EXPECT_FALSE(expiry_of(*Url::parse("https://c/x?Expires=soon")));
  EXPECT_FALSE(expiry_of(*Url::parse("https://c/x?X-Amz-Date=nonsense&X-Amz-Expires=3600")));
}

TEST(NextLink, FindsTheNextPage) {
  EXPECT_EQ(next_link("<https://h/a?c=1>; rel=\"next\""), "https://h/a?c=1");
  EXPECT_EQ(next_link("<https://h/l>; rel=\"last\", <https://h/n>; rel=\"next\""), "https://h/n");
  EXPECT_EQ(next_link("<https://h/l>; rel=\"prev\""), "");
  EXPECT_EQ(next_link("<unfinished"), "");
  EXPECT_EQ(next_link(""), "");
}

TEST(AskedWait, ReadsWhatTheHubAsks) {
  const auto wait = [](std::initializer_list<const char*> lines) {
    Headers headers;
    for (const char* line : lines) {
      headers.add(line);
    }
    return asked_wait(headers);
  };
  using std::chrono::seconds;
  EXPECT_EQ(wait({"RateLimit: \"api\";r=0;t=55"}), seconds(56));
  EXPECT_EQ(wait({"RateLimit: \"api\";r=12;t=55", "Retry-After: 7"}), seconds(7));
  EXPECT_EQ(wait({"Retry-After: 7"}), seconds(7));
  EXPECT_EQ(wait({"Retry-After: Fri, 01 Jan 1999 00:00:00 GMT"}), seconds(0));
  EXPECT_GT(wait({"Retry-After: Fri, 01 Jan 2100 00:00:00 GMT"}), seconds(1000));
  EXPECT_EQ(wait({"Retry-After: soon"}), std::nullopt);
  EXPECT_EQ(wait({"Retry-After: -5"}), std::nullopt);
  EXPECT_EQ(wait({}), std::nullopt);
  EXPECT_GT(wait({"Retry-After: 99999999"}), seconds(300));
}

TEST(Backoff, GrowsWithinItsBounds) {
  const std::chrono::milliseconds base(1000);
  for (int failures = 1; failures <= 8; ++failures) {
    const double middle = 1000.0 * (1 << std::min(failures - 1, 4));
    for (int i = 0; i < 50; ++i) {
      const auto wait = static_cast<double>(backoff(failures, base).count());
      EXPECT_GE(wait, middle * 0.49);
      EXPECT_LE(wait, middle * 1.51);
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm::registry
