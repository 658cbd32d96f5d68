#include "runtime/engine/messages.h"

#include <random>

#include <gtest/gtest.h>

namespace lm {
namespace LM_FILE {

Request sample_request() {
  Request q;
  q.id = 0x0123456789abcdefull;
  q.prompt = {{PromptSegment::Kind::text, "<|user|>", SpecialTokens::parsed, 0},
              {PromptSegment::Kind::text, std::string("a\0b", 3), SpecialTokens::as_text, 0},
              {PromptSegment::Kind::media, "", SpecialTokens::as_text, 3}};
  q.ids = {1, -1, 128000};
  q.add_bos = false;
  q.sampler.temperature = 0.25;
  q.sampler.seed = 99;
  q.sampler.logit_bias = {{3, -1.5f}, {70000, 100.0f}};
  q.sampler.xtc_probability = 0.5;
  q.sampler.dry_multiplier = 0.8;
  q.sampler.dry_sequence_breakers = {"\n", "--"};
  q.sampler.mirostat = 2;
  q.sampler.mirostat_eta = 0.2;
  q.logprobs = true;
  q.top_logprobs = 20;
  q.stop = {"###", ""};
  q.max_tokens = -1;
  q.format = {OutputFormat::Kind::gbnf, "root ::= \"a\""};
  q.overflow = Overflow::truncate_front;
  q.shift = true;
  q.thinking_open = "<think>";
  q.thinking_close = "</think>";
  q.family = OutputFamily::lfm2;
  q.tools_json = "[]";
  q.call_style = CallStyle::arg_pairs;
  q.tool_choice = ToolChoice::named;
  q.tool_name = "weather";
  q.draft_tokens = 7;
  q.credit = 5;
  return q;
}

TEST(Messages, RequestSurvivesTheWire) {
  const Request q = sample_request();
  const auto decoded = decode_command(encode(Command{q}));
  ASSERT_TRUE(decoded);
  const auto& r = std::get<Request>(*decoded);
  EXPECT_EQ(r.id, q.id);
  ASSERT_EQ(r.prompt.size(), 3u);
  EXPECT_EQ(r.prompt[0].special, SpecialTokens::parsed);
  EXPECT_EQ(r.prompt[1].text, q.prompt[1].text);
  EXPECT_EQ(r.prompt[1].special, SpecialTokens::as_text);
  EXPECT_EQ(r.prompt[2].kind, PromptSegment::Kind::media);
  EXPECT_EQ(r.prompt[2].media_index, 3u);
  EXPECT_EQ(r.ids, q.ids);
  EXPECT_EQ(r.format, q.format);
  EXPECT_EQ(r.add_bos, q.add_bos);
  EXPECT_EQ(r.sampler.temperature, q.sampler.temperature);
  EXPECT_EQ(r.sampler.seed, q.sampler.seed);
  EXPECT_EQ(r.sampler.logit_bias, q.sampler.logit_bias);
  EXPECT_EQ(r.sampler.xtc_probability, 0.5);
  EXPECT_EQ(r.sampler.dry_multiplier, 0.8);
  EXPECT_EQ(r.sampler.dry_sequence_breakers, q.sampler.dry_sequence_breakers);
  EXPECT_EQ(r.sampler.mirostat, 2);
  EXPECT_EQ(r.sampler.mirostat_eta, 0.2);
  EXPECT_TRUE(r.logprobs);
  EXPECT_EQ(r.top_logprobs, 20);
  EXPECT_EQ(r.stop, q.stop);
  EXPECT_EQ(r.max_tokens, -1);
  EXPECT_EQ(r.overflow, Overflow::truncate_front);
  EXPECT_TRUE(r.shift);
  EXPECT_EQ(r.thinking_close, "</think>");
  EXPECT_EQ(r.family, OutputFamily::lfm2);
  EXPECT_EQ(r.tools_json, "[]");
  EXPECT_EQ(r.call_style, CallStyle::arg_pairs);
  EXPECT_EQ(r.tool_choice, ToolChoice::named);
  EXPECT_EQ(r.tool_name, "weather");
  EXPECT_EQ(r.draft_tokens, 7);
  EXPECT_EQ(r.credit, 5u);
}

TEST(Messages, EmbedSurvivesTheWire) {
  Embed q;
  q.id = 17;
  q.prompt = {{PromptSegment::Kind::text, "a text", SpecialTokens::as_text, 0}};
  q.ids = {4, 5};
  q.truncate = false;
  q.normalize = false;
  q.dimensions = 256;
  q.credit = 3;
  const std::string bytes = encode(Command{q});
  const auto decoded = decode_command(bytes);
  ASSERT_TRUE(decoded);
  const auto& r = std::get<Embed>(*decoded);
  EXPECT_EQ(r.id, 17u);
  ASSERT_EQ(r.prompt.size(), 1u);
  EXPECT_EQ(r.prompt[0].text, "a text");
  EXPECT_EQ(r.ids, q.ids);
  EXPECT_FALSE(r.truncate);
  EXPECT_FALSE(r.normalize);
  EXPECT_EQ(r.dimensions, 256u);
  EXPECT_EQ(r.credit, 3u);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_FALSE(decode_command(std::string_view(bytes).substr(0, n))) << n;
  }
}

TEST(Messages, CancelAndCreditSurviveTheWire) {
  EXPECT_EQ(std::get<Cancel>(*decode_command(encode(Command{Cancel{7}}))).id, 7u);
  const auto credit = std::get<Credit>(*decode_command(encode(Command{Credit{8, 9}})));
  EXPECT_EQ(credit.id, 8u);
  EXPECT_EQ(credit.n, 9u);
}

TEST(Messages, EventSurvivesTheWire) {
  Event e;
  e.id = 3;
  e.kind = Event::Kind::error;
  e.text = "héllo";
  e.logprobs = {{{5, -0.25f, "h\xc3"}, {{5, -0.25f, "h\xc3"}, {6, -1.5f, ""}}},
                {{7, 0.0f, "o"}, {}}};
  e.embedding = {0.5f, -1e-30f};
  e.stats.prompt_tokens = 12;
  e.stats.accepted_tokens = 34;
  e.stats.generation_ns = 1ull << 40;
  e.stats.device_ns = 1ull << 39;
  e.stats.sampling_ns = 56;
  e.stats.text_ns = 78;
  e.finish = Finish::cancelled;
  e.stop_string = "x";
  e.error = {ErrorCode::non_finite, "m.gguf", "p", "h", -5};
  const auto d = decode_event(encode(e));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->text, e.text);
  EXPECT_EQ(d->logprobs, e.logprobs);
  EXPECT_EQ(d->embedding, e.embedding);
  EXPECT_EQ(d->stats.prompt_tokens, 12u);
  EXPECT_EQ(d->stats.accepted_tokens, 34u);
  EXPECT_EQ(d->stats.generation_ns, 1ull << 40);
  EXPECT_EQ(d->stats.device_ns, 1ull << 39);
  EXPECT_EQ(d->stats.sampling_ns, 56u);
  EXPECT_EQ(d->stats.text_ns, 78u);
  EXPECT_EQ(d->finish, Finish::cancelled);
  EXPECT_EQ(d->error.code, ErrorCode::non_finite);
  EXPECT_EQ(d->error.os_error, -5);
}

TEST(Messages, EveryTruncationIsRefused) {
  const std::string whole = encode(Command{sample_request()});
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(decode_command(std::string_view(whole).substr(0, n))) << n;
  }
  EXPECT_FALSE(decode_command(whole + "x")) << "bytes after the message";
  EXPECT_FALSE(decode_event(whole));
}

TEST(Messages, NoiseNeverCrashesOrAllocatesMuch) {
  std::mt19937 random(11);
  const std::string whole = encode(Command{sample_request()});
  for (int round = 0; round < 20000; ++round) {
    std::string noise = whole;
    for (int i = 0; i < 4; ++i) {
      noise[random() % noise.size()] = static_cast<char>(random());
    }
    const auto decoded = decode_command(noise);
    if (decoded) {
      EXPECT_EQ(encode(*decoded).size(), noise.size());
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm
