#include <random>

#include <gtest/gtest.h>

#include "runtime/model/architecture.h"
#include "runtime/model/rope_table.h"
#include "runtime/plan/arena.h"
#include "runtime/plan/memory_plan.h"
#include "tests/golden/golden.h"

namespace lm {
namespace LM_FILE {

void expect_disjoint(const std::vector<Lifetime>& all, std::uint64_t total) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].offset % 256, 0u);
    EXPECT_LE(all[i].offset + all[i].bytes, total);
    for (std::size_t j = 0; j < i; ++j) {
      const bool together = all[i].first <= all[j].last && all[j].first <= all[i].last;
      const bool apart = all[i].offset + all[i].bytes <= all[j].offset ||
                         all[j].offset + all[j].bytes <= all[i].offset;
      EXPECT_TRUE(!together || apart) << i << " and " << j;
    }
  }
}

TEST(Arena, ValuesThatLiveTogetherNeverOverlap) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<Lifetime> all;
    for (int i = 0; i < 40; ++i) {
      const auto first = static_cast<std::uint32_t>(random() % 60);
      all.push_back(
          {1 + random() % 5000, first, first + static_cast<std::uint32_t>(random() % 10), 0});
    }
    const std::uint64_t total = place(all);
    expect_disjoint(all, total);
  }
}

TEST(Arena, DisjointLivesShareMemory) {
  std::vector<Lifetime> all = {{1000, 0, 1, 0}, {1000, 2, 3, 0}, {1000, 4, 5, 0}};
  EXPECT_EQ(place(all), 1024u);
}

TEST(RopeTable, PlainFrequenciesFollowTheFormula) {
  RopeParams h;
  h.n_rot = 4;
  h.freq_base = 10000.0f;
  h.scaling = RopeScaling::linear;
  const RopeTable table = rope_table(h, {});
  ASSERT_EQ(table.inv_freq.size(), 2u);
  EXPECT_FLOAT_EQ(table.inv_freq[0], 1.0f);
  EXPECT_FLOAT_EQ(table.inv_freq[1], 0.01f);
  EXPECT_FLOAT_EQ(table.magnitude, 1.0f);
}

TEST(RopeTable, LinearFactorAndFrequencyFactorsDivide) {
  RopeParams h;
  h.n_rot = 4;
  h.freq_base = 10000.0f;
  h.scaling = RopeScaling::linear;
  h.factor = 4.0f;
  const std::vector<float> factors = {1.0f, 8.0f};
  const RopeTable table = rope_table(h, factors);
  EXPECT_FLOAT_EQ(table.inv_freq[0], 0.25f);
  EXPECT_FLOAT_EQ(table.inv_freq[1], 0.01f / 32.0f);
}

TEST(RopeTable, YarnKeepsFastDimsScalesSlowOnesAndRaisesTheMagnitude) {
  RopeParams h;
  h.n_rot = 128;
  h.freq_base = 10000.0f;
  h.scaling = RopeScaling::yarn;
  h.factor = 4.0f;
  h.n_ctx_orig = 4096;
  const RopeTable table = rope_table(h, {});
  EXPECT_FLOAT_EQ(table.inv_freq[0], 1.0f);
  const double slowest = std::pow(10000.0, -126.0 / 128.0);
  EXPECT_NEAR(table.inv_freq[63] / (slowest / 4.0), 1.0, 1e-6);
  EXPECT_NEAR(table.magnitude, 1.0 + 0.1 * std::log(4.0), 1e-6);
}

TEST(MemoryPlan, WindowedGroupsNeedOnlyTheirWindow) {
  const KvGroup full{0, {1}};
  const KvGroup window{1024, {1}};
  EXPECT_EQ(kv_pages(full, {.n_ctx = 8192}), 256u);
  EXPECT_EQ(kv_pages(full, {.n_ctx = 8192, .n_seq = 3}), 768u);
  EXPECT_EQ(kv_spare_pages(full, {.n_ctx = 8192, .n_seq = 3}), 3u) << "a copy a sequence";
  EXPECT_EQ(kv_pages(window, {.n_ctx = 8192}), 48u) << "the window and a batch";
  EXPECT_EQ(kv_pages(window, {.n_ctx = 8192, .n_seq = 2}), 80u);
  EXPECT_EQ(kv_pages(window, {.n_ctx = 512}), 16u) << "never more than the context";
  EXPECT_EQ(kv_spare_pages(window, {.n_ctx = 512}), 1u);
  // A copy, one page to roll back into, one for the edge.
  EXPECT_EQ(kv_spare_pages(window, {.n_ctx = 8192}), 3u);
  // An idle window is 33 pages for 1024 + 16 tokens and one for its edge.
  EXPECT_EQ(kv_spare_pages(window, {.n_ctx = 8192, .n_idle_window = 2}), 3u + 2 * 34u);
}

TEST(MemoryPlan, KvBytesOfTheGoldenModelMatchTheFormula) {
  const auto golden = golden::load("arch", "llama-gqa");
  const auto model = golden::load_model(golden.path, {make_reference_backend()});
  ASSERT_TRUE(model) << model.error().problem;
  const Hparams& h = (*model)->hparams();
  const auto kv = kv_layout(h, {}, 1, DType::f16);
  ASSERT_TRUE(kv);
  EXPECT_EQ(kv->page_bytes(), 32ull * 2 * h.n_layer * h.n_head_kv * (h.head_dim_k + h.head_dim_v));
  const auto q8 = kv_layout(h, {}, 1, DType::q4_k);
  ASSERT_FALSE(q8) << "heads of 16 hold no block of 256";
  EXPECT_EQ(q8.error().code, ErrorCode::invalid_argument);
}

TEST(MemoryPlan, SessionGrowsKvOnlyAsTokensCome) {
  const auto golden = golden::load("arch", "llama-gqa");
  const auto model = golden::load_model(golden.path, {make_reference_backend()});
  ASSERT_TRUE(model);
  auto session = Session::create(*model, {.n_ctx = 65536, .kv_type = DType::f32, .placement = {}});
  ASSERT_TRUE(session) << session.error().problem;
  EXPECT_EQ((*session)->kv_bytes_allocated(), 0u);
  auto sequence = std::move(*(*session)->new_sequence());
  std::vector<float> logits;
  const StopFlag run{false};
  const std::vector<Token> tokens(5, 9);
  ASSERT_TRUE((*session)->evaluate(*sequence, tokens, false, run, logits));
  EXPECT_GT((*session)->kv_bytes_allocated(), 0u);
}

}  // namespace LM_FILE
}  // namespace lm
