// Tokens of an answer become events: marks that are control tokens reach the parser, others vanish.
#include "runtime/engine/generation.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/chat/output_parser.h"
#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

class GenerationTest : public testing::Test {
 protected:
  void SetUp() override {
    VocabBuilder v("llama");
    v.add("<unk>", TokenKind::unknown);
    v.add("<s>", TokenKind::control);
    v.add("</s>", TokenKind::control);
    v.add_byte_tokens();
    start_ = v.add("<|tool_call_start|>", TokenKind::control);
    end_ = v.add("<|tool_call_end|>", TokenKind::control);
    pad_ = v.add("<|pad|>", TokenKind::control);
    tokenizer_ = v.tokenizer();
  }

  /// Ids of text, byte by byte.
  std::vector<Token> bytes(const std::string& text) const {
    std::vector<Token> ids;
    for (const char c : text) {
      ids.push_back(3 + static_cast<unsigned char>(c));
    }
    return ids;
  }

  /// What the events say when the model answers with `answer`: C(…), T(…), F(…).
  std::string events(Request request, const std::vector<Token>& answer) const {
    request.id = 1;
    request.ids = {1};
    request.sampler.temperature = 0;
    auto generation = Generation::start(std::move(request), *tokenizer_, 4096, Clock::now());
    EXPECT_TRUE(generation);
    for (const Token id : answer) {
      std::vector<float> logits(tokenizer_->n_vocab(), 0.0f);
      logits[static_cast<std::size_t>(id)] = 10.0f;
      (*generation)->take_rows(logits, logits.size());
    }
    std::string out;
    auto last = Event::Kind::done;
    for (const Event& event : (*generation)->events) {
      const char* kind = event.kind == Event::Kind::content     ? "C"
                         : event.kind == Event::Kind::thinking  ? "T"
                         : event.kind == Event::Kind::tool_call ? "F"
                                                                : "";
      std::string text = event.text;
      if (event.kind == Event::Kind::tool_call) {
        const auto call = parse_tool_call_json(text);
        EXPECT_TRUE(call) << text;
        text = call ? call->name + " " + call->arguments_json : "";
      }
      if (event.kind == last && (kind[0] == 'C' || kind[0] == 'T')) {
        out.insert(out.size() - 1, text);
      } else if (kind[0] != '\0') {
        out += kind + ("(" + text + ")");
      }
      last = event.kind;
    }
    return out;
  }

  std::vector<Token> answer_with_call() const {
    std::vector<Token> answer = bytes("Ok ");
    answer.push_back(pad_);
    answer.push_back(start_);
    const auto call = bytes("[f(x=1)]");
    answer.insert(answer.end(), call.begin(), call.end());
    answer.push_back(end_);
    const auto rest = bytes("!");
    answer.insert(answer.end(), rest.begin(), rest.end());
    answer.push_back(2);
    return answer;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  Token start_ = 0, end_ = 0, pad_ = 0;
};

TEST_F(GenerationTest, ReadsCallsBetweenControlTokens) {
  Request request;
  request.family = OutputFamily::lfm2;
  request.tools_json = "[]";
  EXPECT_EQ(events(request, answer_with_call()), "C(Ok )F(f {\"x\":1})C(!)");
}

TEST_F(GenerationTest, ShowsNoControlTokenWhereNoneIsAskedFor) {
  EXPECT_EQ(events({}, answer_with_call()), "C(Ok [f(x=1)]!)");
  Request without_tools;
  without_tools.family = OutputFamily::lfm2;
  EXPECT_EQ(events(without_tools, answer_with_call()), "C(Ok [f(x=1)]!)");
}

TEST_F(GenerationTest, GivesBackACallThatWasCutOff) {
  Request request;
  request.family = OutputFamily::lfm2;
  request.tools_json = "[]";
  std::vector<Token> answer = {start_};
  const auto call = bytes("[f(x=");
  answer.insert(answer.end(), call.begin(), call.end());
  answer.push_back(2);
  EXPECT_EQ(events(request, answer), "C(<|tool_call_start|>[f(x=)");
}

TEST_F(GenerationTest, TellsThinkingFromContent) {
  Request request;
  request.thinking_open = "<think>";
  request.thinking_close = "</think>";
  request.stop = {"STOP"};
  std::vector<Token> answer = bytes("<think>a</think>bSTOP");
  EXPECT_EQ(events(request, answer), "T(a)C(b)");
  request.starts_in_thinking = true;
  EXPECT_EQ(events(request, bytes("a</think>bSTOP")), "T(a)C(b)");
}

}  // namespace LM_FILE
}  // namespace lm::test
