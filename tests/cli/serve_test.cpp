// lm serve as programs meet it: over HTTP, with ps and stop beside it.
#include <csignal>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/sha256.h"
#include "tests/cli/cli_test.h"
#include "tests/server/http_client.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

/// A port that was free a moment ago.
std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ::bind(fd, reinterpret_cast<const sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

class ServeTest : public CliTest {
 protected:
  void serve(const std::vector<std::string>& more = {}) {
    port_ = free_port();
    environment_["LM_HOST"] = fmt::format("127.0.0.1:{}", port_);
    environment_["LM_CONTEXT_LENGTH"] = "128";
    environment_["LM_BACKEND"] = "cpu";
    std::vector<std::string> words = command({"serve"});
    words.insert(words.end(), more.begin(), more.end());
    server_ = std::make_unique<Background>(words, environment_);
    for (int i = 0; i < 1000; ++i) {
      if (ask(port_, "GET", "/").status != 0) {
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "the server did not start";
  }
  void TearDown() override {
    server_.reset();
    CliTest::TearDown();
  }
  json get(const std::string& path) {
    const Response response = ask(port_, "GET", path);
    EXPECT_EQ(response.status, 200) << path << response.body;
    return json::parse(response.body, nullptr, false);
  }
  Response post(const std::string& path, const json& body) {
    return ask(port_, "POST", path, body.dump());
  }
  json post_json(const std::string& path, const json& body) {
    const Response response = post(path, body);
    EXPECT_EQ(response.status, 200) << path << ": " << response.body;
    return json::parse(response.body, nullptr, false);
  }
  /// Asks for what `lm ps` shows until it is so.
  bool becomes(const std::function<bool(const json& ps)>& so) {
    for (int i = 0; i < 1000; ++i) {
      if (so(get("/api/ps"))) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  static json greedy(const std::string& model, const std::string& prompt, int n) {
    return {{"model", model},
            {"prompt", prompt},
            {"raw", true},
            {"stream", false},
            {"options", {{"temperature", 0}, {"num_predict", n}}}};
  }

  std::unique_ptr<Background> server_;
  std::uint16_t port_ = 0;
};

TEST_F(ServeTest, AnswersWhatProgramsAskFirst) {
  create("m");
  serve();
  Response response = ask(port_, "GET", "/");
  EXPECT_EQ(response.body, "Ollama is running");
  EXPECT_TRUE(response.fields["content-type"].starts_with("text/plain"));
  EXPECT_EQ(ask(port_, "HEAD", "/").fields["content-length"], "17");
  const json version = get("/api/version");
  EXPECT_EQ(version["version"], "0.33.0");
  EXPECT_FALSE(version["lm_version"].get<std::string>().empty());
  EXPECT_EQ(version["store"].get<std::string>().size(), 32u);
  const json tags = get("/api/tags");
  EXPECT_EQ(tags, json::parse(run({"list", "--json"}).out));
  EXPECT_EQ(tags["models"][0]["name"], "m:latest");
  EXPECT_EQ(get("/api/ps")["models"], json::array());
  EXPECT_EQ(get("/v1/models")["data"][0]["id"], "m:latest");
  EXPECT_EQ(get("/v1/models/m:latest")["id"], "m:latest");
  EXPECT_EQ(get("/v1/models/m%3Alatest")["object"], "model");
  EXPECT_EQ(get("/health")["status"], "ok");
  const json shown = post_json("/api/show", {{"name", "m"}});
  EXPECT_EQ(shown["model_info"]["general.architecture"], "llama");
  EXPECT_EQ(shown, json::parse(run({"show", "m", "--json"}).out));
  EXPECT_EQ(ask(port_, "GET", "/metrics").status, 404);
  EXPECT_EQ(ask(port_, "GET", "/nowhere").status, 404);
  response = ask(port_, "GET", "/api/chat");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.fields["allow"], "POST");
  EXPECT_EQ(ask(port_, "POST", "/api/tags", "{}").status, 405);
  EXPECT_EQ(ask(port_, "POST", "/api/show").status, 400);
  EXPECT_EQ(post("/api/show", {{"model", "nobody"}}).status, 404);
  EXPECT_NE(post("/api/chat", {{"model", "nobody"}}).body.find("not found"), std::string::npos);
  EXPECT_EQ(post("/v1/chat/completions",
                 {{"model", "nobody"}, {"messages", {{{"role", "user"}, {"content", "x"}}}}})
                .status,
            404);
  EXPECT_EQ(post("/api/push", {}).status, 501);
  EXPECT_EQ(post("/api/chat", {{"model", "a:b:c"}}).status, 400);
}

TEST_F(ServeTest, WritesWhatRunWrites) {
  create("m");
  serve();
  const Finished alone = run({"run", "m", "hello there", "--raw", "--temp", "0", "--predict", "16",
                              "--json", "--backend", "cpu"});
  ASSERT_CODE(alone, 0);
  EXPECT_EQ(get("/api/ps")["models"], json::array());  // a device was named: it ran by itself
  const json expected = json::parse(alone.out);
  // Without one it asks the server, whose store is the same.
  const Finished through =
      run({"run", "m", "hello there", "--raw", "--temp", "0", "--predict", "16", "--json"});
  ASSERT_CODE(through, 0);
  EXPECT_EQ(json::parse(through.out)["response"], expected["response"]);
  EXPECT_EQ(json::parse(through.out)["model"], expected["model"]);
  EXPECT_EQ(get("/api/ps")["models"].size(), 1u);
  // Another store: the server is not asked.
  environment_["LM_HOME"] = (folder_ / "other").string();
  EXPECT_CODE(run({"run", "m", "hello", "--no-pull"}), 1);
  create("other");
  EXPECT_CODE(run({"run", "other", "hello", "--predict", "2"}), 0);
  environment_["LM_HOME"] = (folder_ / "store").string();
  EXPECT_EQ(get("/api/ps")["models"].size(), 1u);
  const json answer = post_json("/api/generate", greedy("m", "hello there", 16));
  EXPECT_EQ(answer["response"], expected["response"]);
  EXPECT_EQ(answer["eval_count"], expected["eval_count"]);
  EXPECT_EQ(answer["done"], true);
  // Streamed, it is the same in pieces.
  json streamed = greedy("m", "hello there", 16);
  streamed["stream"] = true;
  const Response response = post("/api/generate", streamed);
  EXPECT_EQ(response.fields.at("content-type"), "application/x-ndjson");
  std::string text;
  std::istringstream lines(response.body);
  json last;
  for (std::string line; std::getline(lines, line);) {
    last = json::parse(line);
    text += last["response"].get<std::string>();
  }
  EXPECT_EQ(text, expected["response"]);
  EXPECT_EQ(last["done"], true);
  EXPECT_GT(response.chunks.size(), 1u);
  // The same form content type that curl sends.
  EXPECT_EQ(ask(port_, "POST", "/api/generate", streamed.dump(),
                "Content-Type: application/x-www-form-urlencoded\r\n")
                .status,
            200);
  const Response chunks = post("/v1/completions", {{"model", "m"},
                                                   {"prompt", "hello there"},
                                                   {"temperature", 0},
                                                   {"max_tokens", 16},
                                                   {"stream", true}});
  EXPECT_EQ(chunks.fields.at("content-type"), "text/event-stream");
  EXPECT_TRUE(chunks.body.ends_with("data: [DONE]\n\n")) << chunks.body;
}

TEST_F(ServeTest, LoadsWeightsOnceForEveryContext) {
  create("m");
  serve();
  json body = greedy("m", "hello", 4);
  post_json("/api/generate", body);
  body["options"]["num_ctx"] = 256;
  post_json("/api/generate", body);
  body["options"]["num_ctx"] = 64;
  post_json("/api/generate", body);
  body["options"]["num_thread"] = 1;
  const json warned = post_json("/api/generate", body);
  EXPECT_NE(warned["warnings"].dump().find("num_thread"), std::string::npos) << warned;
  const json row = get("/api/ps")["models"][0];
  EXPECT_FALSE(row["plan"].empty());
  EXPECT_EQ(row["weight_loads"], 1);
  EXPECT_EQ(row["sessions"], 2);
  EXPECT_EQ(row["context_length"], 256);
  EXPECT_GT(row["size"].get<std::uint64_t>(), row["bytes"]["weights"].get<std::uint64_t>());
  // keep_alive 0 and an empty prompt: it goes.
  const json gone = post_json("/api/generate", {{"model", "m"}, {"keep_alive", 0}});
  EXPECT_EQ(gone["done_reason"], "unload");
  EXPECT_EQ(get("/api/ps")["models"], json::array());
  EXPECT_EQ(post_json("/api/generate", {{"model", "m"}})["done_reason"], "load");
  EXPECT_EQ(get("/api/ps")["models"].size(), 1u);
  EXPECT_EQ(ask(port_, "DELETE", "/api/delete", R"({"model":"m"})").status, 200);  // unloaded first
  EXPECT_EQ(get("/api/ps")["models"], json::array());
}

/// A streamed answer that goes on until it is stopped: its reader takes nothing, so it stands still
/// for want of credit.
json endless(const std::string& model) {
  return {
      {"model", model},
      {"prompt", "once"},
      {"raw", true},
      {"logprobs", true},  // makes frames large: what the system takes for a socket is soon full
      {"top_logprobs", 20},
      {"options", {{"temperature", 0}, {"num_predict", 1'000'000}}}};
}

TEST_F(ServeTest, SurvivesTheDeathOfARunner) {
  create("m");
  create("n");
  serve();
  const json expected = post_json("/api/generate", greedy("n", "hello", 12));
  const json before = post_json("/api/generate", greedy("m", "hello", 12));
  RawClient victim(port_), neighbour(port_);
  victim.send(request_text(port_, "POST", "/api/generate", endless("m").dump()));
  ASSERT_FALSE(victim.read_some().empty());
  int pid = 0;
  const json ps = get("/api/ps");
  for (const json& row : ps["models"]) {
    pid = row["name"] == "m:latest" ? row["pid"].get<int>() : pid;
  }
  ASSERT_GT(pid, 0);
  json slow = greedy("n", "hello", 12);
  neighbour.send(request_text(port_, "POST", "/api/generate", slow.dump()));
  ::kill(pid, SIGKILL);
  EXPECT_EQ(json::parse(neighbour.read().body)["response"], expected["response"]);
  // The stream ends with one error line.
  std::string rest;
  for (std::string piece = victim.read_some(); !piece.empty() && !rest.ends_with("0\r\n\r\n");
       piece = victim.read_some()) {
    rest += piece;
    if (rest.ends_with("0\r\n\r\n")) {
      break;
    }
  }
  EXPECT_EQ(rest.find("\"error\""), rest.rfind("\"error\""));
  EXPECT_NE(rest.find("\"error\""), std::string::npos);
  const json after = post_json("/api/generate", greedy("m", "hello", 12));
  EXPECT_EQ(after["response"], before["response"]);
  const json now = get("/api/ps");
  for (const json& row : now["models"]) {
    EXPECT_NE(row["pid"].get<int>(), pid);
  }
}

TEST_F(ServeTest, AClosedConnectionEndsItsWork) {
  create("m");
  serve();
  {
    RawClient client(port_);
    client.send(request_text(port_, "POST", "/api/generate", endless("m").dump()));
    ASSERT_FALSE(client.read_some().empty());
    EXPECT_EQ(get("/api/ps")["requests"].size(), 1u);
    client.close();
  }
  EXPECT_TRUE(becomes(
      [](const json& ps) { return ps["requests"].empty() && ps["models"][0]["active"] == 0; }));
}

TEST_F(ServeTest, SaysThatItIsBusy) {
  create("m");
  environment_["LM_NUM_PARALLEL"] = "1";
  environment_["LM_MAX_QUEUE"] = "1";
  serve();
  RawClient running(port_), waiting(port_);
  running.send(request_text(port_, "POST", "/api/generate", endless("m").dump()));
  ASSERT_FALSE(running.read_some().empty());
  waiting.send(request_text(port_, "POST", "/api/generate", greedy("m", "x", 2).dump()));
  EXPECT_TRUE(becomes([](const json& ps) { return ps["models"][0]["waiting"] == 1; }));
  Response busy = post("/api/generate", greedy("m", "x", 2));
  EXPECT_EQ(busy.status, 503);
  EXPECT_NE(busy.body.find("server busy"), std::string::npos) << busy.body;
  EXPECT_TRUE(busy.fields.contains("retry-after"));
  running.close();
  EXPECT_EQ(waiting.read().status, 200);
}

TEST_F(ServeTest, PsAndStopFromTheCommandLine) {
  create("m");
  Finished nobody = run({"ps"});
  EXPECT_CODE(nobody, 1);
  serve();
  Finished shown = run({"ps"});
  EXPECT_CODE(shown, 0);
  EXPECT_EQ(line_count(shown.out), 1u);
  EXPECT_TRUE(shown.out.starts_with("NAME    ID    SIZE    PROCESSOR    CONTEXT    UNTIL"));
  RawClient client(port_);
  client.send(request_text(port_, "POST", "/api/generate", endless("m").dump()));
  ASSERT_FALSE(client.read_some().empty());
  shown = run({"ps", "--requests"});
  EXPECT_CODE(shown, 0);
  EXPECT_NE(shown.out.find("m:latest"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("100% CPU"), std::string::npos);
  EXPECT_NE(shown.out.find(" minutes from now"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("/api/generate"), std::string::npos);
  EXPECT_FALSE(has_control_bytes(shown.out));
  const json ps = json::parse(run({"ps", "--json"}).out);
  const auto id = ps["requests"][0]["id"].get<std::uint64_t>();
  EXPECT_CODE(run({"stop", "--request", fmt::format("{}", id)}), 0);
  EXPECT_TRUE(becomes([](const json& now) { return now["requests"].empty(); }));
  EXPECT_CODE(run({"stop", "--request", "999999"}), 1);
  EXPECT_CODE(run({"stop", "m"}), 0);
  EXPECT_TRUE(becomes([](const json& now) { return now["models"].empty(); }));
  EXPECT_CODE(run({"stop", "m"}), 0);  // not loaded is no error
  const Finished unknown = run({"stop", "nobody"});
  EXPECT_CODE(unknown, 1);
  EXPECT_NE(unknown.err.find("couldn't find"), std::string::npos) << unknown.err;
  EXPECT_CODE(run({"stop"}), 2);
}

TEST_F(ServeTest, EndsInOrder) {
  create("m");
  environment_["LM_NUM_PARALLEL"] = "1";
  serve();
  RawClient running(port_), waiting(port_);
  running.send(request_text(port_, "POST", "/api/generate", endless("m").dump()));
  ASSERT_FALSE(running.read_some().empty());
  waiting.send(
      request_text(port_, "POST", "/v1/completions", json{{"model", "m"}, {"prompt", "x"}}.dump()));
  EXPECT_TRUE(becomes([](const json& ps) { return ps["models"][0]["waiting"] == 1; }));
  const int runner = get("/api/ps")["models"][0]["pid"].get<int>();
  server_->send(SIGTERM);
  // What takes too long is ended: with a status where nothing was sent, else with a last item.
  const Response refused = waiting.read();
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.body.find("the server is ending"), std::string::npos) << refused.body;
  std::string rest;
  while (!rest.ends_with("0\r\n\r\n")) {
    const std::string piece = running.read_some();
    if (piece.empty()) {
      break;
    }
    rest += piece;
  }
  EXPECT_NE(rest.find("{\"error\":\"the server is ending\"}"), std::string::npos);
  EXPECT_EQ(server_->wait(std::chrono::seconds(30)), 0);
  EXPECT_NE(::kill(runner, 0), 0);
}

TEST_F(ServeTest, IsNotOpenToEverybodyByMistake) {
  environment_["LM_HOST"] = "0.0.0.0:0";
  const Finished refused = run({"serve"});
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("--no-auth"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("LM_API_KEY"), std::string::npos);
  EXPECT_CODE(run({"serve", "--host", "no such/host"}), 2);
  environment_["LM_KEEP_ALIVE"] = "soon";
  EXPECT_CODE(run({"serve"}), 1);
  environment_.erase("LM_KEEP_ALIVE");
  environment_["LM_API_KEY"] = "secret";
  serve({"--metrics"});
  EXPECT_EQ(ask(port_, "GET", "/api/tags").status, 401);
  EXPECT_EQ(ask(port_, "GET", "/metrics", {}, "x-api-key: secret\r\n").status, 200);
  EXPECT_CODE(run({"ps"}), 0);  // it knows the key too
  EXPECT_EQ(ask(port_, "GET", "/", {}, "Host: evil.example\r\n").status, 400);
  const Finished second = run({"serve"});
  EXPECT_CODE(second, 1);
  EXPECT_NE(second.err.find("is in use by lm"), std::string::npos) << second.err;
}

TEST_F(ServeTest, ChangesTheStore) {
  create("m");
  serve();
  EXPECT_EQ(post("/api/copy", {{"source", "m"}, {"destination", "copy"}}).status, 200);
  EXPECT_EQ(post("/api/copy", {{"source", "nobody"}, {"destination", "x"}}).status, 404);
  EXPECT_EQ(get("/api/tags")["models"].size(), 2u);
  EXPECT_EQ(ask(port_, "DELETE", "/api/delete", R"({"name":"copy"})").status, 200);
  EXPECT_EQ(ask(port_, "DELETE", "/api/delete", R"({"model":"copy"})").status, 404);
  const std::string bytes = read_file(tiny_model());
  const std::string digest = store::sha256(bytes + "x").text();
  EXPECT_EQ(ask(port_, "HEAD", "/api/blobs/" + digest).status, 404);
  EXPECT_EQ(ask(port_, "HEAD", "/api/blobs/sha256:../../etc/passwd").status, 400);
  EXPECT_EQ(ask(port_, "POST", "/api/blobs/" + digest, bytes).status, 400);
  EXPECT_EQ(ask(port_, "POST", "/api/blobs/" + digest, bytes + "x").status, 201);
  EXPECT_EQ(ask(port_, "POST", "/api/blobs/" + digest, bytes + "x").status, 200);
  EXPECT_EQ(ask(port_, "HEAD", "/api/blobs/" + digest).status, 200);
  const Response made = post("/api/create", {{"model", "made"},
                                             {"files", {{"a.gguf", digest}}},
                                             {"system", "be brief"},
                                             {"parameters", {{"temperature", 0.5}}}});
  EXPECT_EQ(made.status, 200) << made.body;
  EXPECT_TRUE(made.body.ends_with("{\"status\":\"success\"}\n")) << made.body;
  EXPECT_EQ(post_json("/api/show", {{"model", "made"}})["system"], "be brief");
  EXPECT_EQ(post("/api/create", {{"model", "x"}}).status, 400);
  EXPECT_EQ(post("/api/create", {{"model", "y"}, {"from", "made"}, {"stream", false}}).body,
            "{\"status\":\"success\"}");
  EXPECT_EQ(post("/api/pull", {{"model", "evil.example/u/r:x"}}).status, 400);
}

TEST_F(ServeTest, PullsWithFrames) {
  fs::create_directories(folder_ / "hub" / "user" / "repo");
  fs::copy_file(tiny_model(), folder_ / "hub" / "user" / "repo" / "model-Q8_0.gguf");
  start_hub(folder_ / "hub");
  serve();
  const Response pulled = post("/api/pull", {{"name", "user/repo:Q8_0"}});
  EXPECT_EQ(pulled.status, 200);
  EXPECT_TRUE(pulled.body.starts_with("{\"status\":\"pulling manifest\"}\n")) << pulled.body;
  EXPECT_TRUE(pulled.body.ends_with("{\"status\":\"success\"}\n")) << pulled.body;
  EXPECT_EQ(get("/api/tags")["models"].size(), 1u);
  EXPECT_EQ(post("/api/pull", {{"model", "user/repo:Q8_0"}, {"stream", false}}).body,
            "{\"status\":\"success\"}");
  EXPECT_EQ(post("/api/pull", {{"model", "user/nothing"}, {"stream", false}}).status, 404);
}

}  // namespace LM_FILE
}  // namespace lm::test
