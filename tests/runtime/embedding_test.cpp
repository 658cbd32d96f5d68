// Texts to vectors through the engine, against golden vectors.
#include "runtime/engine/embedding.h"

#include <cmath>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/runtime/engine_fixture.h"
#include "tests/tokenizer/vocab_builder.h"

namespace lm {
namespace LM_FILE {

using namespace engine_fixture;

Embed embed_of(RequestId id, std::vector<Token> ids) {
  Embed embed;
  embed.id = id;
  embed.ids = std::move(ids);
  return embed;
}

std::vector<float> vector_of(const Answer& answer) {
  EXPECT_EQ(answer.all.size(), 2u);
  EXPECT_EQ(answer.all.front().kind, Event::Kind::embedding) << answer.last.error.problem;
  return answer.all.front().embedding;
}

std::vector<std::vector<float>> golden_vectors(const std::string& name) {
  std::ifstream in(golden::data_dir() / "arch" / (name + ".json"));
  std::vector<std::vector<float>> vectors;
  const nlohmann::json json = nlohmann::json::parse(in);
  for (const auto& prompt : json.at("prompts")) {
    const auto& embedding = prompt.at("embedding");
    vectors.push_back(
        (embedding.is_array() ? embedding : embedding.at("values")).get<std::vector<float>>());
  }
  return vectors;
}

TEST(Embedding, GoldenVectorsNormalisedAllAtOnce) {
  std::size_t cases = 0;
  for (const char* name : {"bert", "nomic-bert"}) {
    const auto golden = golden::load("arch", name);
    const auto expected = golden_vectors(name);
    auto engine = make_engine(load_model(name), 256);
    ASSERT_TRUE(engine->embeds());
    for (std::size_t i = 0; i < golden.prompts.size(); ++i) {
      ASSERT_TRUE(engine->submit(embed_of(i + 1, golden.prompts[i].tokens)));
    }
    for (std::size_t i = 0; i < golden.prompts.size(); ++i) {
      const std::vector<float> got = vector_of(read_all(*engine, i + 1));
      ASSERT_EQ(got.size(), expected[i].size());
      double length = 0.0;
      double dot = 0.0;
      double norm = 0.0;
      for (std::size_t j = 0; j < got.size(); ++j) {
        length += static_cast<double>(got[j]) * static_cast<double>(got[j]);
        norm += static_cast<double>(expected[i][j]) * static_cast<double>(expected[i][j]);
        dot += static_cast<double>(got[j]) * static_cast<double>(expected[i][j]);
      }
      EXPECT_NEAR(length, 1.0, 1e-5);
      EXPECT_GT(dot / std::sqrt(norm), 1.0 - 1e-5) << name << " " << i;
      ++cases;
    }
  }
  fmt::print("{} of {} golden texts\n", cases, cases);
  EXPECT_GE(cases, 8u);
}

TEST(Embedding, RawAndShortenedVectors) {
  auto engine = make_engine(load_model("bert"), 256);
  Embed raw = embed_of(1, {1, 270, 271, 272});
  raw.normalize = false;
  ASSERT_TRUE(engine->submit(raw));
  const std::vector<float> whole = vector_of(read_all(*engine, 1));
  Embed cut = embed_of(2, {1, 270, 271, 272});
  cut.dimensions = 8;
  ASSERT_TRUE(engine->submit(cut));
  const std::vector<float> eight = vector_of(read_all(*engine, 2));
  ASSERT_EQ(eight.size(), 8u);
  double squares = 0.0;
  for (int i = 0; i < 8; ++i) {
    squares += static_cast<double>(whole[i]) * static_cast<double>(whole[i]);
  }
  for (int i = 0; i < 8; ++i) {
    EXPECT_NEAR(eight[i], whole[i] / std::sqrt(squares), 1e-6);
  }
  cut.id = 3;
  cut.dimensions = 1 << 20;
  ASSERT_TRUE(engine->submit(cut));
  EXPECT_EQ(read_all(*engine, 3).last.error.code, ErrorCode::invalid_argument);
}

TEST(Embedding, LongTextsAreCutAndCountedOrRefused) {
  auto engine = make_engine(load_model("bert"), 64);
  const std::uint32_t n_ctx = engine->n_ctx();
  const std::vector<Token> longer(n_ctx + 10, 270);
  ASSERT_TRUE(engine->submit(embed_of(1, longer)));
  const Answer cut = read_all(*engine, 1);
  EXPECT_EQ(cut.last.stats.truncated_tokens, 10u);
  EXPECT_EQ(cut.last.stats.prompt_tokens, n_ctx + 10);
  ASSERT_TRUE(engine->submit(embed_of(2, std::vector<Token>(n_ctx, 270))));
  EXPECT_EQ(vector_of(read_all(*engine, 2)), vector_of(cut)) << "the end is what goes";
  Embed strict = embed_of(3, longer);
  strict.truncate = false;
  ASSERT_TRUE(engine->submit(strict));
  const Answer refused = read_all(*engine, 3);
  EXPECT_EQ(refused.last.error.code, ErrorCode::context_exceeded);
  EXPECT_NE(refused.last.error.problem.find("input length exceeds"), std::string::npos);
}

TEST(Embedding, TheWrongKindOfModelIsRefused) {
  auto writes = make_engine(load_model("llama-gqa"), 64);
  EXPECT_FALSE(writes->embeds());
  ASSERT_TRUE(writes->submit(embed_of(1, {1, 270})));
  EXPECT_EQ(read_all(*writes, 1).last.error.code, ErrorCode::unsupported);
  auto embeds = make_engine(load_model("bert"), 64);
  ASSERT_TRUE(embeds->submit(greedy(1, {1, 270}, 3)));
  EXPECT_EQ(read_all(*embeds, 1).last.error.code, ErrorCode::unsupported);
  ASSERT_TRUE(embeds->submit(embed_of(2, {})));
  EXPECT_EQ(read_all(*embeds, 2).last.error.code, ErrorCode::invalid_argument);
  ASSERT_TRUE(embeds->submit(embed_of(3, {99999})));
  EXPECT_EQ(read_all(*embeds, 3).last.error.code, ErrorCode::invalid_argument);
}

TEST(Embedding, TheEndTokenStaysWhenATextIsCut) {
  test::VocabBuilder v("llama");
  v.add("<unk>", TokenKind::unknown);
  v.add("<s>", TokenKind::control);
  v.add("</s>", TokenKind::control);
  v.add_byte_tokens();
  v.extra.add_bool("tokenizer.ggml.add_bos_token", true);
  v.extra.add_bool("tokenizer.ggml.add_eos_token", true);
  const auto tokenizer = v.tokenizer();
  Embed embed;
  PromptSegment segment;
  segment.text = std::string(200, 'x');
  embed.prompt.push_back(segment);
  const auto whole = encode_for_embedding(embed, *tokenizer, 1000);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->tokens.front(), 1);
  EXPECT_EQ(whole->tokens.back(), 2);
  EXPECT_EQ(whole->n_dropped, 0u);
  const auto cut = encode_for_embedding(embed, *tokenizer, 20);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->tokens.size(), 20u);
  EXPECT_EQ(cut->tokens.front(), 1);
  EXPECT_EQ(cut->tokens.back(), 2);
  EXPECT_EQ(cut->n_whole, whole->tokens.size());
  EXPECT_EQ(cut->n_dropped, whole->tokens.size() - 20);
}

TEST(Embedding, NonFiniteVectorsAreAnError) {
  const std::vector<float> bad = {1.0f, NAN};
  EXPECT_EQ(finish_embedding(bad, 0, true).error().code, ErrorCode::non_finite);
  const std::vector<float> zero = {0.0f, 0.0f};
  EXPECT_EQ(*finish_embedding(zero, 0, true), zero);
}

}  // namespace LM_FILE
}  // namespace lm
