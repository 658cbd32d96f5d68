#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace {

struct AttentionCase {
  std::uint32_t n_head = 4;
  std::uint32_t n_head_kv = 2;
  std::uint32_t dim_k = 64;
  std::uint32_t dim_v = 64;
  DType dtype = DType::f16;
  std::uint32_t window = 0;
  float softcap = 0.0f;
  bool causal = true;
  bool sinks = false;
  std::vector<SequenceSpec> sequences = {{40, 1}};
  float key_scale = 1.0f;
};

// Scores and weights are formed in f32 on both sides of the limit; keys and values are the same
// bits.
constexpr double kAttention = 1e-9;

void check(const AttentionCase& c, std::uint32_t seed) {
  std::string sequences;
  for (const SequenceSpec& s : c.sequences) {
    sequences += fmt::format(" {}+{}", s.kv_before, s.rows);
  }
  LM_CASE("attention heads {}/{} dims {}/{} {} window {} softcap {} causal {} sinks {} sequences{}",
          c.n_head, c.n_head_kv, c.dim_k, c.dim_v, layout(c.dtype).name, c.window, c.softcap,
          c.causal, c.sinks, sequences);
  Scene scene(seed);
  scene.sequences(c.sequences, c.causal ? c.window : 0);
  ops::Attention op;
  op.kv = scene.kv(c.dtype, c.n_head_kv, c.dim_k, c.dim_v);
  scene.fill_cache(true, c.key_scale);
  op.n_head = c.n_head;
  op.q = scene.input(scene.n_row(), c.n_head * c.dim_k);
  op.out = scene.output(scene.n_row(), c.n_head * c.dim_v);
  op.scale = 1.0f / std::sqrt(static_cast<float>(c.dim_k));
  op.window = c.window;
  op.softcap = c.softcap;
  op.causal = c.causal;
  op.sinks = c.sinks ? scene.weight(DType::f32, 1, c.n_head) : TensorRef{};
  scene.add(op);
  expect_agreement(scene, {{op.out, scene.n_row(), kAttention}});
}

TEST(AttentionConformance, AgreesForAllHeadShapes) {
  std::uint32_t seed = 10000;
  for (const std::uint32_t dim : {32u, 64u, 80u, 96u, 128u, 256u}) {
    for (const std::uint32_t group : {1u, 4u, 8u}) {
      check(
          {.n_head = 2 * group, .n_head_kv = 2, .dim_k = dim, .dim_v = dim, .sequences = {{70, 1}}},
          ++seed);
      check(
          {.n_head = 2 * group, .n_head_kv = 2, .dim_k = dim, .dim_v = dim, .sequences = {{3, 37}}},
          ++seed);
    }
  }
  check({.n_head = 6, .n_head_kv = 1, .dim_k = 192, .dim_v = 128, .sequences = {{50, 1}, {0, 40}}},
        ++seed);
  check({.n_head = 3, .n_head_kv = 3, .dim_k = 20, .dim_v = 12, .sequences = {{50, 1}, {0, 40}}},
        ++seed);
  check({.n_head = 2, .n_head_kv = 2, .dim_k = 7, .dim_v = 5, .sequences = {{50, 2}, {0, 9}}},
        ++seed);
}

TEST(AttentionConformance, AgreesForAllContextLengths) {
  std::uint32_t seed = 11000;
  for (const std::uint32_t context : {1u, 2u, 31u, 32u, 33u, 64u, 255u, 256u, 257u, 1000u}) {
    check({.n_head = 8, .sequences = {{context - 1, 1}}}, ++seed);
    check({.n_head = 2, .n_head_kv = 1, .sequences = {{context - 1, 1}}},
          ++seed);  // one head: split by pages
    if (context <= 257) {
      check({.sequences = {{0, context}}}, ++seed);
    }
  }
}

TEST(AttentionConformance, AgreesForAllRowCounts) {
  std::uint32_t seed = 12000;
  for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 16u, 17u, 33u, 64u, 65u}) {
    check({.sequences = {{300, rows}}}, ++seed);
    check({.n_head = 8, .n_head_kv = 1, .dtype = DType::f32, .sequences = {{31, rows}}}, ++seed);
  }
}

TEST(AttentionConformance, AgreesForAllKvTypes) {
  std::uint32_t seed = 13000;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0}) {
    for (const std::uint32_t dim : {32u, 64u, 128u}) {
      check({.n_head = 8,
             .dim_k = dim,
             .dim_v = dim,
             .dtype = dtype,
             .sequences = {{100, 1}, {5, 30}}},
            ++seed);
    }
    check({.n_head = 4,
           .n_head_kv = 1,
           .dim_k = 96,
           .dim_v = 32,
           .dtype = dtype,
           .sequences = {{600, 3}}},
          ++seed);
  }
}

TEST(AttentionConformance, AgreesAtWindowEdges) {
  std::uint32_t seed = 14000;
  for (const std::uint32_t window : {1u, 2u, 31u, 32u, 33u, 64u, 100u, 1000u}) {
    for (const std::uint32_t context : {1u, 32u, 33u, 64u, 65u, 101u, 300u}) {
      check({.window = window, .sequences = {{context - 1, 1}}},
            ++seed);  // pages behind the window are released
    }
    check({.window = window, .sequences = {{0, 130}}}, ++seed);
    check({.window = window, .sequences = {{200, 40}}}, ++seed);
  }
}

TEST(AttentionConformance, AgreesForEachOption) {
  std::uint32_t seed = 15000;
  for (const std::vector<SequenceSpec>& sequences :
       {std::vector<SequenceSpec>{{400, 1}}, std::vector<SequenceSpec>{{30, 45}},
        std::vector<SequenceSpec>{{0, 3}}}) {
    check({.softcap = 5.0f, .sequences = sequences, .key_scale = 4.0f}, ++seed);
    check({.sinks = true, .sequences = sequences}, ++seed);
    check({.n_head = 2, .n_head_kv = 1, .sinks = true, .sequences = sequences}, ++seed);
    check({.causal = false, .sequences = sequences}, ++seed);
    check({.window = 20, .softcap = 2.0f, .sinks = true, .sequences = sequences}, ++seed);
  }
}

TEST(AttentionConformance, AgreesForRaggedBatches) {
  std::uint32_t seed = 16000;
  const std::vector<SequenceSpec> mixed = {{500, 1}, {0, 33}, {31, 1}, {64, 7}};
  const std::vector<SequenceSpec> decode = {{0, 1}, {1000, 1}, {32, 1}, {255, 1}};
  const std::vector<SequenceSpec> prefill = {{0, 65}, {10, 64}, {100, 16}, {0, 1}};
  for (const auto& sequences : {mixed, decode, prefill}) {
    check({.n_head = 8, .sequences = sequences}, ++seed);
    check({.n_head = 2, .n_head_kv = 1, .dim_k = 128, .dim_v = 128, .sequences = sequences},
          ++seed);
    check({.n_head = 8,
           .n_head_kv = 8,
           .dim_k = 32,
           .dim_v = 32,
           .window = 50,
           .sequences = sequences},
          ++seed);
    check({.n_head = 8, .causal = false, .sequences = sequences}, ++seed);
  }
}

/// Scores far apart and far from zero: the running maximum must carry every page.
TEST(AttentionConformance, AgreesForExtremeScores) {
  check({.sequences = {{300, 1}}, .key_scale = 60.0f}, 17001);
  check({.sequences = {{300, 20}}, .key_scale = 60.0f}, 17002);
  check({.n_head = 2, .n_head_kv = 1, .sinks = true, .sequences = {{900, 1}}, .key_scale = 60.0f},
        17003);
}

}  // namespace
}  // namespace lm::conformance
