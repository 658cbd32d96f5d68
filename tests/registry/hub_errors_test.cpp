// The table of hub-protocol.md 4: what the hub refuses, and what the user reads.
#include <algorithm>

#include "registry/hub_client.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

using test::Fault;

class HubErrorTest : public PullTest {
 protected:
  void start_with_model(test::TestHub::Options options = {}) {
    start(std::move(options));
    hub_->add_file("u/r", "m-Q4_0.gguf", noise(3 << 20));
  }
  void use_token(const std::string& token) {
    settings_.token = Secret(token);
    settings_.token_source = "HF_TOKEN";
  }
  Error error_of(const std::string& name, const PullOptions& options = {}) {
    const auto result = pull_name(name, options);
    EXPECT_FALSE(result) << name;
    return result ? Error{} : result.error();
  }
};

TEST_F(HubErrorTest, AsksForTermsAndTokenOfAGatedRepository) {
  start_with_model({.token = "hf_good"});
  hub_->set_gated("u/r", true);
  const Error error = error_of("u/r");
  EXPECT_EQ(error.code, ErrorCode::gated);
  EXPECT_NE(error.hint.find(hub_->endpoint() + "/u/r"), std::string::npos) << error.hint;
  EXPECT_NE(error.hint.find("HF_TOKEN"), std::string::npos);
  for (const auto& record : hub_->log()) {
    EXPECT_EQ(record.target.find("/resolve/"), std::string::npos);  // told early
  }
}

TEST_F(HubErrorTest, FetchesAGatedRepositoryWithItsToken) {
  start_with_model({.token = "hf_good"});
  hub_->set_gated("u/r", true);
  use_token("hf_good");
  ASSERT_TRUE(pull_name("u/r"));
  bool authorized = false;
  for (const auto& record : hub_->log()) {
    // The CDN answers 400 to a token; none must ever reach it.
    EXPECT_FALSE(record.cdn && record.authorized) << record.target;
    EXPECT_NE(record.status, 400);
    authorized = authorized || record.authorized;
  }
  EXPECT_TRUE(authorized);
}

TEST_F(HubErrorTest, SaysThatATokenIsNotOnTheList) {
  start_with_model({.token = "hf_good"});
  hub_->set_gated("u/r", false);
  use_token("hf_good");
  const Error error = error_of("u/r");
  EXPECT_EQ(error.code, ErrorCode::gated);
  EXPECT_NE(error.problem.find("not on its list"), std::string::npos);
  EXPECT_NE(error.hint.find("ask for access"), std::string::npos);
}

TEST_F(HubErrorTest, TellsMissingFromPrivateOnlyByAToken) {
  start_with_model({.token = "hf_good"});
  hub_->set_private("u/r");
  for (const char* name : {"u/r", "u/none"}) {
    const Error error = error_of(name);
    EXPECT_EQ(error.code, ErrorCode::not_found);
    EXPECT_NE(error.problem.find("private"), std::string::npos) << error.problem;
    EXPECT_NE(error.hint.find("HF_TOKEN"), std::string::npos);
    EXPECT_NE(error.problem.find("request id test-1"), std::string::npos);
  }
  use_token("hf_good");
  EXPECT_TRUE(pull_name("u/r"));
  const Error error = error_of("u/none");
  EXPECT_EQ(error.code, ErrorCode::not_found);
  EXPECT_NE(error.problem.find("no access"), std::string::npos);
}

TEST_F(HubErrorTest, GoesOnWithoutAnInvalidToken) {
  start_with_model({.token = "hf_good"});
  use_token("hf_expired");
  const auto result = pull_name("u/r");
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_TRUE(said(PullEvent::Kind::warning, "HF_TOKEN"));
  const auto refused = hub_->log();
  EXPECT_EQ(std::count_if(refused.begin(), refused.end(),
                          [](const auto& record) { return record.status == 401; }),
            1);
  hub_->set_gated("u/r", true);
  const Error error = error_of("u/r:Q4_0");
  EXPECT_EQ(error.code, ErrorCode::gated);
  const Error missing = error_of("u/none");
  EXPECT_EQ(missing.code, ErrorCode::unauthorized);
  EXPECT_NE(missing.problem.find("HF_TOKEN is invalid"), std::string::npos) << missing.problem;
}

TEST_F(HubErrorTest, ListsBranchesForAnUnknownRevision) {
  start_with_model();
  const Error error = error_of("u/r", {.revision = "no-such-branch"});
  EXPECT_EQ(error.code, ErrorCode::not_found);
  EXPECT_NE(error.problem.find("no-such-branch"), std::string::npos);
  EXPECT_NE(error.hint.find("main"), std::string::npos) << error.hint;
}

TEST_F(HubErrorTest, EncodesRevisionsInTheirPath) {
  start_with_model();
  error_of("u/r", {.revision = "refs/pr/1"});
  const auto log = hub_->log();
  EXPECT_TRUE(std::any_of(log.begin(), log.end(), [](const auto& record) {
    return record.target.ends_with("/revision/refs%2Fpr%2F1");
  }));
}

TEST_F(HubErrorTest, ListsQuantsWithSizes) {
  start_with_model();
  const Error error = error_of("u/r:Q5_K_M");
  EXPECT_EQ(error.code, ErrorCode::not_found);
  EXPECT_NE(error.hint.find("Q4_0 (3.1 MB)"), std::string::npos) << error.hint;
}

TEST_F(HubErrorTest, MapsStatusesWithoutACode) {
  struct Case {
    int status;
    const char* body;
    ErrorCode code;
    const char* part;
  };
  const Case cases[] = {
      {403, R"({"error":"Access to this resource is disabled."})", ErrorCode::unauthorized,
       "Access to this resource is disabled."},
      {451, "", ErrorCode::http, "451"},
      {418, "", ErrorCode::http, "418"},
      {404, "", ErrorCode::not_found, "no such repository"},
      {503, "", ErrorCode::http, "503"},
      {500, "", ErrorCode::http, "500"},
      {429, "", ErrorCode::rate_limited, "too many requests"},
  };
  for (const Case& c : cases) {
    start_with_model();
    hub_->add_fault({.kind = Fault::Kind::status,
                     .times = 100,
                     .cdn = false,
                     .status = c.status,
                     .body = c.body});
    const Error error = error_of("u/r");
    EXPECT_EQ(error.code, c.code) << c.status;
    EXPECT_NE(error.problem.find(c.part), std::string::npos) << error.problem;
  }
}

TEST_F(HubErrorTest, TriesAgainAfterTransientStatuses) {
  for (const int status : {408, 429, 500, 502, 503, 504}) {
    start_with_model();
    hub_->add_fault({.kind = Fault::Kind::status, .times = 3, .cdn = false, .status = status});
    const auto result = pull_name("u/r");
    EXPECT_TRUE(result) << status << ": " << (result ? "" : result.error().problem);
    std::filesystem::remove_all(home());
  }
}

TEST_F(HubErrorTest, DoesNotRepeatWhatWontChange) {
  for (const int status : {400, 403, 404, 418, 451}) {
    start_with_model();
    hub_->add_fault({.kind = Fault::Kind::status, .times = 100, .cdn = false, .status = status});
    EXPECT_FALSE(pull_name("u/r"));
    EXPECT_EQ(hub_->log().size(), 1u) << status;
  }
}

TEST_F(HubErrorTest, StopsWhenTheHubAsksToWaitTooLong) {
  start_with_model();
  hub_->add_fault({.kind = Fault::Kind::status,
                   .times = 1,
                   .cdn = false,
                   .status = 429,
                   .headers = {{"Retry-After", "4000"}}});
  const Error error = error_of("u/r");
  EXPECT_EQ(error.code, ErrorCode::rate_limited);
  EXPECT_NE(error.problem.find("4000 s"), std::string::npos);
  EXPECT_EQ(hub_->log().size(), 1u);
}

TEST_F(HubErrorTest, WaitsAsLongAsTheHubAsks) {
  start_with_model();
  hub_->add_fault({.kind = Fault::Kind::status,
                   .times = 1,
                   .cdn = false,
                   .status = 429,
                   .headers = {{"Retry-After", "1"}}});
  EXPECT_TRUE(pull_name("u/r"));
  EXPECT_TRUE(said(PullEvent::Kind::status, "trying again in 1 s"));
}

TEST_F(HubErrorTest, RefusesAnswersThatAreNoHubs) {
  const char* bodies[] = {"",
                          "<html>log in</html>",
                          "[]",
                          "{}",
                          R"({"id":"u/r"})",
                          R"({"id":"u/r","sha":"main"})",
                          R"({"id":"../../etc","sha":"0123456789012345678901234567890123456789"})",
                          R"({"id":7,"sha":"0123456789012345678901234567890123456789"})",
                          "{\"id\": \"u/r\", "};
  for (const char* body : bodies) {
    start_with_model();
    hub_->add_fault(
        {.kind = Fault::Kind::status, .times = 1, .cdn = false, .status = 200, .body = body});
    EXPECT_EQ(error_of("u/r").code, ErrorCode::protocol) << body;
  }
  start_with_model();
  hub_->add_fault({.kind = Fault::Kind::status,
                   .times = 1,
                   .cdn = false,
                   .status = 200,
                   .body = std::string(1 << 20, '[')});
  EXPECT_EQ(error_of("u/r").code, ErrorCode::protocol);
}

TEST_F(HubErrorTest, RefusesTreesThatLie) {
  const std::string oid(64, 'a');
  const std::pair<std::string, ErrorCode> bodies[] = {
      {"{}", ErrorCode::protocol},
      {R"([{"type":"file","path":"m.gguf"}])", ErrorCode::protocol},
      {R"([{"type":"file","path":"m.gguf","size":-1}])", ErrorCode::protocol},
      {R"([{"type":"file","path":"m.gguf","size":1e30}])", ErrorCode::protocol},
      {R"([{"type":"file","path":"m.gguf","size":1,"lfs":{"oid":"ABC","size":1}}])",
       ErrorCode::protocol},
      {R"([{"type":"file","path":"../m.gguf","size":1}])", ErrorCode::not_found},
      {R"([{"type":"file","path":"/m.gguf","size":1}])", ErrorCode::not_found},
      {R"([{"type":"file","size":1},7,null,"x",[]])", ErrorCode::not_found},
      {R"([{"type":"file","path":"m-00001-of-00002.gguf","size":18446744073709551615,"lfs":{"oid":")" +
           oid + R"(","size":18446744073709551615}},
          {"type":"file","path":"m-00002-of-00002.gguf","size":2,"lfs":{"oid":")" +
           oid + R"(","size":2}}])",
       ErrorCode::not_found},
      {R"([{"type":"file","path":"m.gguf","size":3,"lfs":{"oid":")" + oid +
           R"(","size":18446744073709551615}}])",
       ErrorCode::no_space},
  };
  for (const auto& [body, code] : bodies) {
    start_with_model();
    hub_->add_fault({.kind = Fault::Kind::status,
                     .times = 1,
                     .cdn = false,
                     .target = "/tree/",
                     .status = 200,
                     .body = body});
    EXPECT_EQ(error_of("u/r").code, code) << body;
    EXPECT_EQ(hub_->weight_bytes(), 0u);
  }
}

TEST_F(HubErrorTest, ShowsTheHubsWarningOnce) {
  start_with_model();
  const std::string body = R"({"id":"u/r","sha":")" + hub_->commit("u/r") + R"("})";
  hub_->add_fault({.kind = Fault::Kind::status,
                   .times = 1,
                   .cdn = false,
                   .target = "/revision/",
                   .status = 200,
                   .headers = {{"X-HF-Warning", "storage; nearly full"}},
                   .body = body});
  ASSERT_TRUE(pull_name("u/r"));
  EXPECT_TRUE(said(PullEvent::Kind::warning, "nearly full"));
}

TEST_F(HubErrorTest, StopsAtRedirectsWithoutEnd) {
  start_with_model();
  hub_->add_fault({.kind = Fault::Kind::status,
                   .times = 1000,
                   .cdn = false,
                   .status = 307,
                   .headers = {{"Location", "/api/models/u/r/revision/main"}}});
  EXPECT_EQ(error_of("u/r").code, ErrorCode::protocol);
  EXPECT_EQ(hub_->log().size(), 11u);
}

TEST_F(HubErrorTest, SaysWhenNobodyAnswers) {
  start();
  settings_.tuning.max_tries = 1;
  settings_.endpoint = "http://127.0.0.1:1";
  const Error error = error_of("u/r");
  EXPECT_EQ(error.code, ErrorCode::network);
  EXPECT_NE(error.subject.find("127.0.0.1:1"), std::string::npos);
  EXPECT_FALSE(error.hint.empty());
}

TEST_F(HubErrorTest, GivesUpOnAHubThatNeverAnswers) {
  start_with_model();
  settings_.tuning.max_tries = 1;
  settings_.tuning.connect_timeout = std::chrono::milliseconds(200);
  settings_.tuning.answer_timeout = std::chrono::milliseconds(200);
  hub_->add_fault({.kind = Fault::Kind::stall, .times = 10, .cdn = false, .after_bytes = 3});
  EXPECT_EQ(error_of("u/r").code, ErrorCode::network);
}

TEST_F(HubErrorTest, CapsTheSizeOfAnswers) {
  start();
  std::atomic<bool> stop{false};
  HttpClient http(settings_, stop, {});
  hub_->add_file("u/r", "LICENSE", std::string(300'000, 'x'));
  HubClient client(http, {});
  EXPECT_EQ(client.text("u/r", hub_->commit("u/r"), "LICENSE", 300'000)->size(), 300'000u);
  const auto capped = client.text("u/r", hub_->commit("u/r"), "LICENSE", 299'999);
  ASSERT_FALSE(capped);
  EXPECT_EQ(capped.error().code, ErrorCode::limit_exceeded);
  const auto missing = client.text("u/r", hub_->commit("u/r"), "NONE", 100);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
}

TEST_F(HubErrorTest, FetchesFromAHubThatRefusesHead) {
  start_with_model({.refuse_head = true});
  const auto result = pull_name("u/r");
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_TRUE(stored_bytes(result->name) == noise(3 << 20));
}

TEST_F(HubErrorTest, FetchesFromAMirrorThatServesBytesItself) {
  start_with_model({.token = "hf_good", .without_cdn = true});
  use_token("hf_good");
  const auto result = pull_name("u/r");
  ASSERT_TRUE(result) << result.error().problem;
  EXPECT_TRUE(stored_bytes(result->name) == noise(3 << 20));
}

}  // namespace LM_FILE
}  // namespace lm::registry
