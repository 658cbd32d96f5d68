// Whole models against the reference engine's logits, each prompt fed in five ways.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/golden/golden.h"

namespace lm {
namespace LM_FILE {

using golden::Golden;
using golden::Prompt;

const StopFlag kRun{false};

struct Setup {
  const char* name;
  bool reference;
  DType kv_type;
  const char* tolerance;  ///< key in the golden file
};

constexpr Setup kSetups[] = {
    {"reference, f32 KV", true, DType::f32, "exact_nmse"},
    {"cpu, f32 KV", false, DType::f32, "exact_nmse"},
    {"cpu, f16 KV", false, DType::f16, "f16_kv_nmse"},
};
/// Of the device that LM_TEST_BACKEND names: activations stay f32 there, as in the reference.
constexpr Setup kDeviceSetups[] = {
    {"device, f32 KV", true, DType::f32, "exact_nmse"},
    {"device, f16 KV", true, DType::f16, "f16_kv_nmse"},
};
std::span<const Setup> setups() {
  return golden::device_of_test() ? std::span<const Setup>(kDeviceSetups)
                                  : std::span<const Setup>(kSetups);
}

/// Tokens a step. A device in software takes a minute a model for all of them.
std::span<const std::size_t> ways() {
  static constexpr std::size_t kWays[] = {512, 7, 1, 31};
  return golden::device_of_test() ? std::span(kWays).first(2) : std::span(kWays);
}

std::shared_ptr<Backend> make_device(const Setup& setup) {
  if (golden::device_of_test()) {
    return golden::device_of_test();
  }
  return setup.reference ? make_reference_backend()
                         : make_cpu_backend({.n_threads = 2, .isa_limit = {}});
}

/// Models with quantised experts meet 8-bit activations on the CPU, which has a limit of its own.
double limit_of(const Golden& golden, const Setup& setup) {
  const char* key = !setup.reference && golden.tolerance.contains("quantised_activation_nmse")
                        ? "quantised_activation_nmse"
                        : setup.tolerance;
  return golden.tolerance.at(key).get<double>();
}

/// Logits of all positions of `prompt`, fed in pieces of `piece` tokens into `sequence`.
std::vector<float> feed(Session& session, Sequence& sequence, const std::vector<Token>& tokens,
                        std::size_t piece) {
  std::vector<float> all;
  std::vector<float> logits;
  for (std::size_t at = 0; at < tokens.size(); at += piece) {
    const std::size_t n = std::min(piece, tokens.size() - at);
    const auto result =
        session.evaluate(sequence, std::span(tokens).subspan(at, n), true, kRun, logits);
    EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().problem);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

/// All positions in one step with three other sequences of other lengths (which have a past of
/// their own).
std::vector<float> feed_with_company(Session& session, Sequence& sequence,
                                     const std::vector<Token>& tokens) {
  std::vector<std::unique_ptr<Sequence>> others;
  std::vector<std::vector<Token>> texts = {{5, 9, 17}, {300}, {44, 3, 260, 7, 8, 9, 10, 11, 12}};
  std::vector<float> logits;
  for (const std::size_t past : {0u, 40u, 3u}) {
    others.push_back(std::move(*session.new_sequence()));
    const std::vector<Token> tokens_before(past, 21);
    if (past > 0) {
      EXPECT_TRUE(session.evaluate(*others.back(), tokens_before, false, kRun, logits).has_value());
    }
  }
  std::vector<std::uint32_t> every(tokens.size());
  for (std::uint32_t i = 0; i < every.size(); ++i) {
    every[i] = i;
  }
  const std::uint32_t first = 0;
  const std::vector<BatchItem> items = {
      {others[0].get(), texts[0], {}, {}},
      {&sequence, tokens, {}, every},
      {others[1].get(), texts[1], {}, std::span(&first, 1)},
      {others[2].get(), texts[2], {}, {}},
  };
  const auto result = session.step(items, kRun, logits);
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().problem);
  const std::size_t n_vocab = session.output_width();
  logits.resize(tokens.size() *
                n_vocab);  // item order: ours first, then the one row of a neighbour
  return logits;
}

void check_logits(const Golden& golden, const Prompt& prompt, const std::vector<float>& got,
                  double limit, const std::string& how) {
  const std::size_t n_vocab = got.size() / prompt.tokens.size();
  for (const auto& [position, want] : prompt.logits) {
    const double error = golden::nmse(std::span(got).subspan(position * n_vocab, n_vocab), want);
    EXPECT_LE(error, limit) << golden.path << " " << how << " prompt of " << prompt.tokens.size()
                            << " position " << position;
  }
}

/// 24 greedy tokens with the KV cache, compared up to the first near tie.
void check_greedy(const Golden& golden, const Prompt& prompt, Session& session, Sequence& sequence,
                  std::vector<float> last, double limit) {
  const double tie = 10.0 * std::sqrt(limit) * golden::deviation(last);
  for (std::size_t i = 0; i < prompt.greedy.size(); ++i) {
    if (prompt.margin[i] < tie) {
      return;
    }
    const auto best = static_cast<Token>(std::max_element(last.begin(), last.end()) - last.begin());
    ASSERT_EQ(best, prompt.greedy[i]) << golden.path << " greedy token " << i;
    ASSERT_TRUE(session.evaluate(sequence, std::span(&best, 1), false, kRun, last).has_value());
  }
}

void run_model(const std::string& name) {
  const Golden golden = golden::load("arch", name);
  std::size_t cases = 0;
  for (const Setup& setup : setups()) {
    const auto model = golden::load_model(golden.path, {make_device(setup)});
    ASSERT_TRUE(model.has_value()) << model.error().subject << " " << model.error().problem;
    auto session = Session::create(
        *model,
        {.n_ctx = golden.n_ctx, .kv_type = setup.kv_type, .n_seq_guaranteed = 5, .placement = {}});
    ASSERT_TRUE(session.has_value()) << session.error().problem;
    const double limit = limit_of(golden, setup);
    for (const Prompt& prompt : golden.prompts) {
      // 70 tokens in one batch cross two page boundaries; pieces of 7 begin and end inside pages.
      for (const std::size_t piece : ways()) {
        auto sequence = std::move(*(*session)->new_sequence());
        const std::vector<float> got = feed(**session, *sequence, prompt.tokens, piece);
        check_logits(golden, prompt, got, limit,
                     fmt::format("{}, pieces of {}", setup.name, piece));
        const std::size_t n_vocab = got.size() / prompt.tokens.size();
        check_greedy(golden, prompt, **session, *sequence,
                     {got.end() - static_cast<std::ptrdiff_t>(n_vocab), got.end()}, limit);
        ++cases;
      }
      auto sequence = std::move(*(*session)->new_sequence());
      const std::vector<float> got = feed_with_company(**session, *sequence, prompt.tokens);
      check_logits(golden, prompt, got, limit, fmt::format("{}, with three others", setup.name));
      ++cases;
    }
  }
  fmt::print("{}: {} prompts x ways x backends\n", name, cases);
}

/// Every prompt alone and in one step with the others.
void run_encoder(const std::string& name) {
  const Golden golden = golden::load("arch", name);
  std::size_t cases = 0;
  for (const Setup& setup : setups()) {
    const auto model = golden::load_model(golden.path, {make_device(setup)});
    ASSERT_TRUE(model.has_value()) << model.error().subject << " " << model.error().problem;
    auto session = Session::create(
        *model,
        {.n_ctx = golden.n_ctx, .kv_type = setup.kv_type, .n_seq_guaranteed = 5, .placement = {}});
    ASSERT_TRUE(session.has_value()) << session.error().problem;
    ASSERT_TRUE((*session)->is_pooled());
    const double limit = golden.tolerance.at(setup.tolerance).get<double>();
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<std::uint32_t> rows;
    std::vector<BatchItem> items;
    for (const Prompt& prompt : golden.prompts) {
      rows.push_back((*session)->pooled_row(static_cast<std::uint32_t>(prompt.tokens.size())));
    }
    const auto item_of = [&](std::size_t i) {
      sequences.push_back(std::move(*(*session)->new_sequence()));
      return BatchItem{
          sequences.back().get(), golden.prompts[i].tokens, {}, std::span(&rows[i], 1)};
    };
    const auto check = [&](std::span<const float> got, const Prompt& prompt, const char* how) {
      const double error = golden::nmse(got, prompt.embedding);
      EXPECT_LE(error, limit) << golden.path << " " << setup.name << " " << how << " prompt of "
                              << prompt.tokens.size();
      ++cases;
    };
    std::vector<float> embedding;
    for (std::size_t i = 0; i < golden.prompts.size(); ++i) {
      const BatchItem item = item_of(i);
      const auto ran = (*session)->step(std::span(&item, 1), kRun, embedding);
      ASSERT_TRUE(ran.has_value()) << ran.error().problem;
      ASSERT_EQ(embedding.size(), golden.prompts[i].embedding.size());
      check(embedding, golden.prompts[i], "alone");
      items.push_back(item_of(i));
    }
    const auto ran = (*session)->step(items, kRun, embedding);
    ASSERT_TRUE(ran.has_value()) << ran.error().problem;
    const std::size_t width = (*session)->output_width();
    for (std::size_t i = 0; i < golden.prompts.size(); ++i) {
      check(std::span(embedding).subspan(i * width, width), golden.prompts[i], "with the others");
    }
  }
  fmt::print("{}: {} prompts x ways x backends\n", name, cases);
}

TEST(ArchGolden, LlamaGqa) {
  run_model("llama-gqa");
}
TEST(ArchGolden, Llama3Rope) {
  run_model("llama3-rope");
}
TEST(ArchGolden, LlamaMoe) {
  run_model("llama-moe");
}
TEST(ArchGolden, Qwen2) {
  run_model("qwen2");
}
TEST(ArchGolden, Qwen2Moe) {
  run_model("qwen2moe");
}
TEST(ArchGolden, Qwen3) {
  run_model("qwen3");
}
TEST(ArchGolden, Qwen3Moe) {
  run_model("qwen3moe");
}
TEST(ArchGolden, Qwen35) {
  run_model("qwen35");
}
TEST(ArchGolden, Gemma2) {
  run_model("gemma2");
}
TEST(ArchGolden, Gemma3) {
  run_model("gemma3");
}
TEST(ArchGolden, Gemma4) {
  run_model("gemma4");
}
TEST(ArchGolden, Phi3LongRope) {
  run_model("phi3-longrope");
}
TEST(ArchGolden, Granite) {
  run_model("granite");
}
TEST(ArchGolden, Gpt2) {
  run_model("gpt2");
}
TEST(ArchGolden, Cohere2) {
  run_model("cohere2");
}
TEST(ArchGolden, Deepseek2) {
  run_model("deepseek2");
}
TEST(ArchGolden, Glm4) {
  run_model("glm4");
}
TEST(ArchGolden, GptOss) {
  run_model("gpt-oss");
}
TEST(ArchGolden, SmolLm3) {
  run_model("smollm3");
}
TEST(ArchGolden, Lfm2) {
  run_model("lfm2");
}
TEST(ArchGolden, Bert) {
  run_encoder("bert");
}
TEST(ArchGolden, NomicBert) {
  run_encoder("nomic-bert");
}

// From here on: models and results of scripts/golden.
TEST(ArchGolden, BertMeanPooling) {
  run_encoder("bert-mean");
}
TEST(ArchGolden, BertOneTokenType) {
  run_encoder("bert-xlmr");
}
TEST(ArchGolden, CommandR) {
  run_model("command-r");
}
TEST(ArchGolden, CommandRPlusNormsHeads) {
  run_model("command-r-plus");
}
TEST(ArchGolden, Deepseek2OldFile) {
  run_model("deepseek2-kv-b");
}
TEST(ArchGolden, Deepseek2Lite) {
  run_model("deepseek2-lite");
}
TEST(ArchGolden, Deepseek2LiteOldFile) {
  run_model("deepseek2-lite-kv-b");
}
TEST(ArchGolden, Falcon40B) {
  run_model("falcon-40b");
}
TEST(ArchGolden, Falcon7B) {
  run_model("falcon-7b");
}
TEST(ArchGolden, Gemma) {
  run_model("gemma");
}
TEST(ArchGolden, GemmaEmbedding) {
  run_encoder("gemma-embedding");
}
TEST(ArchGolden, GemmaEmbeddingDense) {
  run_encoder("gemma-embedding-dense");
}
TEST(ArchGolden, Gemma2Of27BScalesByWidth) {
  run_model("gemma2-27b");
}
TEST(ArchGolden, Gemma3Of27BScalesByWidth) {
  run_model("gemma3-27b");
}
TEST(ArchGolden, Gemma4MoeWhoseValuesAreKeys) {
  run_model("gemma4-moe");
}
TEST(ArchGolden, Glm4WithoutBiases) {
  run_model("glm4-plain");
}
TEST(ArchGolden, GptOssF32) {
  run_model("gpt-oss-f32");
}
TEST(ArchGolden, GptNeoxParallel) {
  run_model("gptneox-parallel");
}
TEST(ArchGolden, GptNeoxSequential) {
  run_model("gptneox-sequential");
}
TEST(ArchGolden, GraniteWithoutRope) {
  run_model("granite-norope");
}
TEST(ArchGolden, GraniteMoe) {
  run_model("granitemoe");
}
TEST(ArchGolden, JinaBertV2) {
  run_encoder("jina-bert-v2");
}
TEST(ArchGolden, JinaBertV2Code) {
  run_encoder("jina-bert-v2-code");
}
TEST(ArchGolden, LlamaBiases) {
  run_model("llama-biases");
}
TEST(ArchGolden, LlamaLinearScaling) {
  run_model("llama-linear");
}
TEST(ArchGolden, LlamaLongRope) {
  run_model("llama-longrope");
}
TEST(ArchGolden, LlamaYarn) {
  run_model("llama-yarn");
}
TEST(ArchGolden, Mistral3) {
  run_model("mistral3");
}
TEST(ArchGolden, Olmo2) {
  run_model("olmo2");
}
TEST(ArchGolden, Olmo3) {
  run_model("olmo3");
}
TEST(ArchGolden, Phi2) {
  run_model("phi2");
}
TEST(ArchGolden, Phi3ShortFactors) {
  run_model("phi3-short");
}
TEST(ArchGolden, Qwen2FusedQkvAndOutputBias) {
  run_model("qwen2-fused");
}
TEST(ArchGolden, Qwen3Embedding) {
  run_encoder("qwen3-embedding");
}
TEST(ArchGolden, Qwen35Moe) {
  run_model("qwen35moe");
}
TEST(ArchGolden, StableLm) {
  run_model("stablelm");
}
TEST(ArchGolden, StableLm12B) {
  run_model("stablelm-12b");
}
TEST(ArchGolden, StarCoder2) {
  run_model("starcoder2");
}

/// Layers and parts over two devices, copies in the middle of a layer too: the same bits as on one.
TEST(ArchGolden, SplitOverTwoDevicesGivesTheSameLogits) {
  for (const char* name : {"llama-gqa", "qwen3", "qwen35", "gemma4", "deepseek2", "lfm2"}) {
    const Golden golden = golden::load("arch", name);
    const auto whole = golden::load_model(golden.path, {make_device(kSetups[1])});
    ASSERT_TRUE(whole.has_value());
    const std::uint32_t n_layer = (*whole)->hparams().n_layer;
    Placement split;
    for (std::uint32_t layer = 0; layer < n_layer; ++layer) {
      split.attention.push_back(layer % 2 == 0 ? 0 : 1);
      split.ffn.push_back(layer % 3 == 0 ? 1 : 0);
      split.experts.push_back(0);
    }
    split.embedding = 1;
    split.output = 1;
    const auto parts =
        golden::load_model(golden.path, {make_device(kSetups[1]), make_device(kSetups[1])}, split);
    ASSERT_TRUE(parts.has_value()) << parts.error().problem;
    std::vector<std::vector<float>> results;
    for (const auto& model : {*whole, *parts}) {
      auto session = Session::create(model, {.n_ctx = 128, .kv_type = DType::f16, .placement = {}});
      ASSERT_TRUE(session.has_value()) << session.error().problem;
      auto sequence = std::move(*(*session)->new_sequence());
      results.push_back(feed(**session, *sequence, golden.prompts.back().tokens, 33));
    }
    EXPECT_EQ(results[0], results[1]) << name;
  }
}

}  // namespace LM_FILE
}  // namespace lm
