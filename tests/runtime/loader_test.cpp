#include "runtime/engine/loader.h"

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/golden/golden.h"
#include "tests/runtime/card.h"

namespace lm {
namespace LM_FILE {

using card::Card;
using card::Memory;

constexpr std::uint64_t kMiB = 1 << 20;
/// What memory_margin leaves free on a small card.
constexpr std::uint64_t kMargin = 256 * kMiB;

std::shared_ptr<const GgufFile> open_golden(const std::string& name) {
  auto file = GgufFile::open(golden::data_dir() / "arch" / (name + ".gguf"));
  EXPECT_TRUE(file) << file.error().problem;
  return std::make_shared<const GgufFile>(std::move(*file));
}

std::shared_ptr<Backend> host() {
  return make_cpu_backend({.n_threads = 1, .isa_limit = Isa::baseline});
}

/// A model loaded through the planner, with a session on it.
struct Loaded {
  LoadOutcome outcome;
  std::unique_ptr<Session> session;
};

Result<Loaded> load(const std::string& name, std::vector<std::shared_ptr<Backend>> devices,
                    LoadWish wish = {}) {
  if (wish.session.n_ctx == 0) {
    wish.session.n_ctx = 64;
  }
  wish.need_tokenizer = false;
  Loaded loaded;
  const auto start = [&](std::shared_ptr<const Model> model,
                         const SessionOptions& placed) -> Result<void> {
    LM_TRY(loaded.session, Session::create(std::move(model), placed));
    return {};
  };
  LM_TRY(loaded.outcome, load_planned(open_golden(name), std::move(devices), wish, start));
  return loaded;
}

/// Greedy tokens after a prompt.
std::vector<Token> greedy(Session& session, std::vector<Token> tokens, int n) {
  auto sequence = session.new_sequence();
  EXPECT_TRUE(sequence);
  const StopFlag go{false};
  std::vector<float> logits;
  std::vector<Token> result;
  for (int i = 0; i < n; ++i) {
    const auto ran = session.evaluate(**sequence, tokens, false, go, logits);
    EXPECT_TRUE(ran) << (ran ? "" : ran.error().subject + ": " + ran.error().problem);
    if (!ran) {
      return result;
    }
    result.push_back(static_cast<Token>(std::ranges::max_element(logits) - logits.begin()));
    tokens = {result.back()};
  }
  return result;
}

const std::vector<Token> kPrompt{1, 5, 9, 23, 7};

std::vector<Token> on_the_cpu(const std::string& name) {
  auto loaded = load(name, {host()});
  EXPECT_TRUE(loaded);
  return greedy(*loaded->session, kPrompt, 16);
}

TEST(Loader, EverySplitGivesTheTokensOfTheCpu) {
  for (const std::string name : {"llama-gqa", "qwen3moe", "gemma3", "lfm2"}) {
    const std::vector<Token> expected = on_the_cpu(name);
    const std::uint32_t n_layer = load(name, {host()})->outcome.model->hparams().n_layer;
    for (std::uint32_t n = 0; n <= n_layer; ++n) {
      const auto memory = card::memory(kMargin + 64 * kMiB);
      auto loaded = load(name, {std::make_shared<Card>("vulkan:0", memory), host()},
                         {.session = {}, .gpu_layers = n});
      ASSERT_TRUE(loaded) << name << ": " << loaded.error().problem;
      EXPECT_EQ(loaded->outcome.gpu_layers, n);
      EXPECT_EQ(memory->used > 0, n > 0);
      EXPECT_EQ(greedy(*loaded->session, kPrompt, 16), expected) << name << ", " << n;
    }
  }
}

TEST(Loader, MoreMemoryNeverMeansFewerLayers) {
  std::uint32_t before = 0;
  std::set<std::uint32_t> seen;
  for (std::uint64_t kib = 0; kib < 4096; kib += 64) {
    const auto memory = card::memory(kMargin + kib * 1024);
    memory->free_real = kib * 1024;  // the margin is there for others
    auto loaded = load("llama-gqa", {std::make_shared<Card>("vulkan:0", memory), host()});
    ASSERT_TRUE(loaded) << loaded.error().problem;
    EXPECT_EQ(memory->n_refused, 0u) << kib;
    EXPECT_GE(loaded->outcome.gpu_layers, before);
    before = loaded->outcome.gpu_layers;
    seen.insert(before);
  }
  EXPECT_EQ(*seen.begin(), 0u);
  EXPECT_EQ(*seen.rbegin(), open_golden("llama-gqa") ? 3u : 0u);
}

/// What a plan says is enough for loading and for a context filled to its end, to the byte.
TEST(Loader, APlanThatFitsNeverFailsToAllocate) {
  int n_model = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden::data_dir() / "arch")) {
    if (entry.path().extension() != ".gguf") {
      continue;
    }
    const std::string name = entry.path().stem();
    for (const DType kv_type : {DType::f16, DType::f32}) {
      const auto memory = card::memory(kMargin + 64 * kMiB);
      LoadWish wish;
      wish.session.kv_type = kv_type;
      std::vector<std::shared_ptr<Backend>> devices{std::make_shared<Card>("vulkan:0", memory),
                                                    host()};
      const auto file = open_golden(name);
      const auto shape = ModelShape::read(*file);
      ASSERT_TRUE(shape) << name;
      std::vector<PlanDevice> planned{plan_device(devices[0]), plan_device(devices[1])};
      const auto plan = plan_load(*shape, planned, {.n_ctx = 64, .kv_type = kv_type});
      ASSERT_TRUE(plan) << name << ": " << plan.error().problem;
      if (plan->gpu_layers == 0) {
        continue;  // such heads are not for this type
      }
      // Just what the plan wants, and nothing more.
      memory->free_real = plan->bytes[0].total();
      auto loaded = load(name, devices, wish);
      ASSERT_TRUE(loaded) << name << ": " << loaded.error().problem;
      EXPECT_EQ(memory->n_refused, 0u)
          << name << ": " << memory->peak << " of " << memory->free_real;
      if (!loaded->session->is_pooled()) {
        greedy(*loaded->session, kPrompt, 58);
      }
      EXPECT_EQ(memory->n_refused, 0u) << name;
      ++n_model;
    }
  }
  std::printf("%d models and KV types\n", n_model);
  EXPECT_GT(n_model, 80);
}

TEST(Loader, ARefusalAtAnyAllocationIsPlannedAround) {
  const std::vector<Token> expected = on_the_cpu("llama-gqa");
  std::uint32_t at = 0;
  for (;; ++at) {
    const auto memory = card::memory(kMargin + 64 * kMiB);
    memory->refuse_at = at;
    auto loaded = load("llama-gqa", {std::make_shared<Card>("vulkan:0", memory), host()});
    ASSERT_TRUE(loaded) << at << ": " << loaded.error().problem;
    if (memory->n_refused == 0) {
      break;
    }
    EXPECT_EQ(loaded->outcome.replans.size(), 1u);
    EXPECT_NE(loaded->outcome.replans.front().find("vulkan:0"), std::string::npos);
    EXPECT_EQ(greedy(*loaded->session, kPrompt, 16), expected) << at;
  }
  EXPECT_GE(at, 4u);  // weights, arena, scratch, constants
}

TEST(Loader, ACardThatRefusesEverythingLeavesTheCpu) {
  const auto memory = card::memory(kMargin + 64 * kMiB);
  memory->free_real = 0;
  auto loaded = load("llama-gqa", {std::make_shared<Card>("vulkan:0", memory), host()});
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->outcome.gpu_layers, 0u);
  EXPECT_EQ(loaded->outcome.model->devices().size(), 1u);
  EXPECT_LE(memory->n_refused, kMaxReplans + 1);
  ASSERT_FALSE(loaded->outcome.replans.empty());
  EXPECT_NE(loaded->outcome.replans.back().find("CPU"), std::string::npos);
  EXPECT_EQ(greedy(*loaded->session, kPrompt, 16), on_the_cpu("llama-gqa"));
}

TEST(Loader, ACardThatWasAskedForIsNeverReplacedInSilence) {
  const auto memory = card::memory(kMargin + 64 * kMiB);
  memory->free_real = 0;
  const auto refused = load("llama-gqa", {std::make_shared<Card>("vulkan:0", memory), host()},
                            {.session = {}, .gpu_required = true});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(refused.error().subject, "vulkan:0");
  const auto fixed = load("llama-gqa", {std::make_shared<Card>("vulkan:0", memory), host()},
                          {.session = {}, .gpu_layers = 2});
  EXPECT_FALSE(fixed);
}

TEST(Loader, ACardThatHasLessThanItSaysGetsFewerLayers) {
  const auto whole = card::memory(kMargin + 64 * kMiB);
  ASSERT_TRUE(load("llama-gqa", {std::make_shared<Card>("vulkan:0", whole), host()}));
  const auto memory = card::memory(kMargin + 64 * kMiB);
  memory->free_real = whole->peak * 8 / 10;
  auto loaded = load("llama-gqa", {std::make_shared<Card>("vulkan:0", memory), host()});
  ASSERT_TRUE(loaded);
  EXPECT_GT(loaded->outcome.gpu_layers, 0u);
  EXPECT_LT(loaded->outcome.gpu_layers, loaded->outcome.model->hparams().n_layer);
  EXPECT_FALSE(loaded->outcome.replans.empty());
}

TEST(Loader, PartsThatACardHasNoOpForStayOnTheCpu) {
  const std::vector<Token> expected = on_the_cpu("qwen3moe");
  const auto no_experts = card::memory(kMargin + 64 * kMiB);
  no_experts->missing_ops = {"moe_ffn"};
  auto split = load("qwen3moe", {std::make_shared<Card>("vulkan:0", no_experts), host()});
  ASSERT_TRUE(split) << split.error().problem;
  EXPECT_GT(split->outcome.gpu_layers, 0u);
  EXPECT_EQ(greedy(*split->session, kPrompt, 16), expected);
  const auto says = [](const LoadOutcome& outcome, std::string_view what) {
    return std::ranges::any_of(outcome.reasons, [what](const std::string& reason) {
      return reason.find(what) != std::string::npos;
    });
  };
  EXPECT_TRUE(says(split->outcome, "moe_ffn"));

  const auto no_norm = card::memory(kMargin + 64 * kMiB);
  no_norm->missing_ops = {"norm"};
  auto whole = load("qwen3moe", {std::make_shared<Card>("vulkan:0", no_norm), host()});
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->outcome.gpu_layers, 0u);
  EXPECT_TRUE(says(whole->outcome, "norm"));
  EXPECT_FALSE(load("qwen3moe", {std::make_shared<Card>("vulkan:0", no_norm), host()},
                    {.session = {}, .gpu_required = true}));
}

TEST(Loader, TwoCardsShareAModel) {
  const std::vector<Token> expected = on_the_cpu("llama-gqa");
  const auto first = card::memory(kMargin + 64 * kMiB);
  const auto second = card::memory(kMargin + 64 * kMiB);
  auto loaded = load("llama-gqa", {std::make_shared<Card>("vulkan:0", first),
                                   std::make_shared<Card>("vulkan:1", second), host()});
  ASSERT_TRUE(loaded) << loaded.error().problem;
  EXPECT_GT(first->used, 0u);
  EXPECT_GT(second->used, 0u);
  EXPECT_EQ(greedy(*loaded->session, kPrompt, 16), expected);
}

}  // namespace LM_FILE
}  // namespace lm
