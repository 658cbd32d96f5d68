#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

struct DeltaCase {
  std::uint32_t n_head_k = 2, n_head_v = 4, dim = 64;
  std::vector<SequenceSpec> sequences = {{40, 1}};
};

// Sums over a head's keys in f32, carried from row to row.
constexpr double kDelta = 1e-9;

void check(const DeltaCase& c, std::uint32_t seed) {
  LM_CASE("delta_net heads {}/{} dim {} sequences {}", c.n_head_k, c.n_head_v, c.dim,
          c.sequences.size());
  Scene scene(seed);
  scene.sequences(c.sequences);
  const std::uint32_t rows = scene.n_row();
  ops::DeltaNet op;
  op.qkv = scene.input(rows, (2 * c.n_head_k + c.n_head_v) * c.dim);
  op.alpha = scene.input(rows, c.n_head_v, 2.0f);
  op.beta = scene.input(rows, c.n_head_v, 2.0f);
  op.dt_bias = scene.weight(DType::f32, 1, c.n_head_v);
  std::vector<float> a(c.n_head_v);
  for (float& v : a) {
    v = -std::fabs(scene.normal());
  }
  op.a = scene.values(c.n_head_v, a, true);
  op.out = scene.output(rows, c.n_head_v * c.dim);
  op.n_head_k = c.n_head_k;
  op.n_head_v = c.n_head_v;
  op.head_dim = c.dim;
  op.state = scene.state(c.n_head_v * c.dim * c.dim);
  scene.add(op);
  expect_agreement(scene, {{op.out, rows, kDelta}});
}

TEST(DeltaNetConformance, AgreesForAllHeadShapes) {
  std::uint32_t seed = 67000;
  for (const std::uint32_t dim : {1u, 5u, 16u, 64u, 80u, 128u}) {
    check({.dim = dim}, ++seed);
    check({.dim = dim, .sequences = {{0, 37}}}, ++seed);
  }
  check({.n_head_k = 1, .n_head_v = 1}, ++seed);
  check({.n_head_k = 16, .n_head_v = 16, .dim = 32, .sequences = {{0, 5}}}, ++seed);
  check({.n_head_k = 4, .n_head_v = 12, .dim = 32, .sequences = {{0, 5}}}, ++seed);
}

TEST(DeltaNetConformance, AgreesForRaggedBatches) {
  std::uint32_t seed = 68000;
  check({.sequences = {{5, 1}, {0, 17}, {9, 3}, {0, 16}}}, ++seed);
  check({.sequences = {{1, 1}, {2, 1}, {3, 1}}}, ++seed);
  check({.sequences = {{0, 2}, {3, 0}, {0, 1}}}, ++seed);
}

/// One head of two values: decay and beta are one half, q = (0.6, 0.8) / sqrt 2, k = (1, 0).
/// S = ((1, 2), (3, 4)) / 2; d = ((1, 2) - (0.5, 1)) / 2; S += k d^T.
TEST(DeltaNetReference, GivesWhatTheFormulaGives) {
  Scene scene(1);
  scene.sequences({{2, 1}});
  ops::DeltaNet op;
  op.qkv = scene.values<float>(6, {3.0f, 4.0f, 7.0f, 0.0f, 1.0f, 2.0f});
  op.alpha = scene.values<float>(1, {0.25f});
  op.beta = scene.values<float>(1, {0.0f});
  op.dt_bias = scene.values<float>(1, {-0.25f}, true);
  op.a = scene.values<float>(1, {-1.0f}, true);
  op.out = scene.output(1, 2);
  op.n_head_k = op.n_head_v = 1;
  op.head_dim = 2;
  op.state = scene.state(4);
  scene.set_state(0, {1.0f, 2.0f, 3.0f, 4.0f});
  scene.add(op);
  expect_values(scene, op.out, {1.65f / std::sqrt(2.0f), 2.5f / std::sqrt(2.0f)});
  const StopFlag stop{false};
  const std::vector<float> state = scene.run(reference_backend(), stop).states[0];
  const std::vector<float> expected = {0.75f, 1.5f, 1.5f, 2.0f};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(state[i], expected[i], 1e-6);
  }
}

/// Value heads 0, 2 share key head 0 and 1, 3 key head 1: numbers modulo, not blocks.
TEST(DeltaNetReference, SharesKeyHeadsModulo) {
  Scene scene(1);
  scene.sequences({{0, 1}});
  ops::DeltaNet op;
  // S = 0: out = beta v (k.q), with |k| = |q| = 1 of one value only the signs remain.
  op.qkv = scene.values<float>(8, {1.0f, -1.0f, 1.0f, 1.0f, 2.0f, 4.0f, 6.0f, 8.0f});
  op.alpha = scene.values<float>(4, {0.0f, 0.0f, 0.0f, 0.0f});
  op.beta = scene.values<float>(4, {0.0f, 0.0f, 0.0f, 0.0f});
  op.dt_bias = scene.values<float>(4, {0.0f, 0.0f, 0.0f, 0.0f}, true);
  op.a = scene.values<float>(4, {-1.0f, -1.0f, -1.0f, -1.0f}, true);
  op.out = scene.output(1, 4);
  op.n_head_k = 2;
  op.n_head_v = 4;
  op.head_dim = 1;
  op.state = scene.state(4);
  scene.set_state(0, {0.0f, 0.0f, 0.0f, 0.0f});
  scene.add(op);
  expect_values(scene, op.out, {1.0f, -2.0f, 3.0f, -4.0f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
