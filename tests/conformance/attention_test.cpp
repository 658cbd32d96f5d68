#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

constexpr DType kKvTypes[] = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};

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
  bool slopes = false;
  bool v_in_k = false;
};

// Scores and weights are formed in f32 on both sides of the limit; keys and values are the same
// bits.
constexpr double kAttention = 1e-9;

void check(const AttentionCase& c, std::uint32_t seed) {
  std::string sequences;
  for (const SequenceSpec& s : c.sequences) {
    sequences += fmt::format(" {}+{}", s.kv_before, s.rows);
  }
  LM_CASE(
      "attention heads {}/{} dims {}/{} {} window {} softcap {} causal {} sinks {} slopes {} "
      "v_in_k {} sequences{}",
      c.n_head, c.n_head_kv, c.dim_k, c.dim_v, layout(c.dtype).name, c.window, c.softcap, c.causal,
      c.sinks, c.slopes, c.v_in_k, sequences);
  Scene scene(seed);
  scene.sequences(c.sequences, c.causal ? c.window : 0);
  ops::Attention op;
  op.kv = scene.kv(c.dtype, c.n_head_kv, c.dim_k, c.dim_v, c.v_in_k);
  scene.fill_cache(true, c.key_scale);
  op.n_head = c.n_head;
  op.q = scene.input(scene.n_row(), c.n_head * c.dim_k);
  op.out = scene.output(scene.n_row(), c.n_head * c.dim_v);
  op.scale = 1.0f / std::sqrt(static_cast<float>(c.dim_k));
  op.window = c.window;
  op.softcap = c.softcap;
  op.causal = c.causal;
  op.sinks = c.sinks ? scene.weight(DType::f32, 1, c.n_head) : TensorRef{};
  op.slopes = c.slopes ? scene.weight(DType::f32, 1, c.n_head, 0.1f) : TensorRef{};
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
  for (const DType dtype : kKvTypes) {
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

TEST(AttentionConformance, AgreesForSlopes) {
  std::uint32_t seed = 15500;
  for (const bool causal : {true, false}) {
    for (const std::uint32_t window : {0u, 30u}) {
      check({.window = window, .causal = causal, .sequences = {{0, 75}}, .slopes = true}, ++seed);
    }
  }
  check({.n_head = 12, .n_head_kv = 1, .sequences = {{700, 1}}, .slopes = true}, ++seed);
  check({.softcap = 3.0f, .sinks = true, .sequences = {{40, 1}, {0, 9}}, .slopes = true}, ++seed);
}

/// Encoders: every row sees half the window to either side.
TEST(AttentionConformance, AgreesForSymmetricWindows) {
  std::uint32_t seed = 15600;
  for (const std::uint32_t window : {1u, 2u, 3u, 31u, 64u, 65u, 100u, 1000u, 0xffffffffu}) {
    for (const std::uint32_t rows : {1u, 33u, 130u}) {
      check({.window = window, .causal = false, .sequences = {{0, rows}, {0, 3}}}, ++seed);
    }
  }
}

/// Latent attention: one KV head, values are the first part of the keys.
TEST(AttentionConformance, AgreesForValuesInsideKeys) {
  std::uint32_t seed = 15700;
  for (const DType dtype : kKvTypes) {
    for (const std::uint32_t n_head : {1u, 5u, 16u}) {
      const std::vector<SequenceSpec> sequences = {{100, 1}, {5, 9}};
      check({.n_head = n_head,
             .n_head_kv = 1,
             .dim_k = 96,
             .dim_v = 64,
             .dtype = dtype,
             .sequences = sequences,
             .v_in_k = true},
            ++seed);
    }
  }
  check({.n_head = 4, .n_head_kv = 2, .dim_k = 20, .dim_v = 20, .v_in_k = true}, ++seed);
  check({.n_head = 3, .n_head_kv = 1, .dim_k = 9, .dim_v = 5, .window = 40, .v_in_k = true},
        ++seed);
  for (const std::uint32_t n_head : {16u, 128u}) {
    check({.n_head = n_head,
           .n_head_kv = 1,
           .dim_k = 576,
           .dim_v = 512,
           .sequences = {{300, 1}, {0, 3}},
           .v_in_k = true},
          ++seed);
  }
}

TEST(AttentionConformance, AgreesForManyHeadsOverFew) {
  std::uint32_t seed = 15800;
  for (const std::uint32_t group : {2u, 3u, 5u, 6u, 7u, 12u, 16u}) {
    check({.n_head = 2 * group, .sequences = {{70, 1}, {3, 5}}}, ++seed);
  }
  check({.n_head = 128, .n_head_kv = 1, .sequences = {{200, 1}, {0, 3}}}, ++seed);
  check({.n_head = 2, .n_head_kv = 1, .dim_k = 576, .dim_v = 576, .sequences = {{40, 2}}}, ++seed);
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

/// Keys of zero: every visible position weighs the same, and values number the positions.
struct Averages {
  Scene scene{1};
  ops::Attention op;

  Averages(const std::vector<SequenceSpec>& sequences, std::uint32_t n_head) {
    scene.sequences(sequences);
    op.kv = scene.kv(DType::f32, 1, 4, 1);
    scene.set_cache([](std::uint32_t, std::uint32_t) { return 0.0f; },
                    [](std::uint32_t at, std::uint32_t) { return static_cast<float>(at + 1); });
    op.n_head = n_head;
    op.q = scene.input(scene.n_row(), n_head * 4);
    op.out = scene.output(scene.n_row(), n_head);
  }
  void expect(const std::vector<float>& values) {
    scene.add(op);
    expect_values(scene, op.out, values);
  }
};

TEST(AttentionReference, SeesWhatTheWindowSays) {
  Averages causal({{0, 4}}, 1);
  causal.op.window = 2;
  causal.expect({1.0f, 1.5f, 2.5f, 3.5f});
  for (const std::uint32_t window : {2u, 3u}) {
    Averages symmetric({{0, 4}}, 1);
    symmetric.op.causal = false;
    symmetric.op.window = window;
    symmetric.expect({1.5f, 2.0f, 3.0f, 3.5f});
  }
}

/// Slope ln 2 halves a weight with every step of distance.
TEST(AttentionReference, WeighsByDistance) {
  Averages causal({{2, 1}}, 2);
  causal.op.slopes = causal.scene.values<float>(2, {0.69314718f, 0.0f}, true);
  causal.expect({(0.25f * 1.0f + 0.5f * 2.0f + 3.0f) / 1.75f, 2.0f});
  Averages both({{0, 2}}, 1);
  both.op.causal = false;
  both.op.slopes = both.scene.values<float>(1, {0.69314718f}, true);
  both.expect({(1.0f + 0.5f * 2.0f) / 1.5f, (0.5f * 1.0f + 2.0f) / 1.5f});
}

TEST(AttentionReference, TakesValuesFromKeys) {
  Scene scene(1);
  scene.sequences({{1, 1}});
  ops::Attention op;
  op.kv = scene.kv(DType::f32, 1, 4, 2, true);
  const auto key = [](std::uint32_t at, std::uint32_t d) {
    return static_cast<float>(10 * at + d);
  };
  scene.set_cache(key, key);
  op.n_head = 1;
  op.q = scene.values<float>(4, {0.0f, 0.0f, 0.0f, 0.0f});
  op.out = scene.output(1, 2);
  scene.add(op);
  expect_values(scene, op.out, {5.0f, 6.0f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
