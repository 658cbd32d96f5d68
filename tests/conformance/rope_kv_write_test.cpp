#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

struct RopeCase {
  RopeKind rope = RopeKind::halves;
  std::uint32_t n_head = 4;
  std::uint32_t n_head_kv = 2;
  std::uint32_t dim = 64;
  std::uint32_t dim_v = 64;
  std::uint32_t n_rot = 64;
  bool norm = false;
  float magnitude = 1.0f;
  DType dtype = DType::f16;
  std::vector<SequenceSpec> sequences = {{40, 1}};
  std::uint32_t rot_begin = 0;
  bool v_norm = false;
  float temperature = 0.0f;
  bool only_q = false;  ///< a layer that reads another layer's cache
  bool v_in_k = false;
};

void check(const RopeCase& c, std::uint32_t seed) {
  LM_CASE(
      "rope kind {} heads {}/{} dims {}/{} rot {}+{} norm {} {} magnitude {} temperature {} only q "
      "{} v_in_k {} {} first sequence {}+{}",
      static_cast<int>(c.rope), c.n_head, c.n_head_kv, c.dim, c.dim_v, c.rot_begin, c.n_rot, c.norm,
      c.v_norm, c.magnitude, c.temperature, c.only_q, c.v_in_k, layout(c.dtype).name,
      c.sequences[0].kv_before, c.sequences[0].rows);
  Scene scene(seed);
  scene.sequences(c.sequences);
  ops::RopeKvWrite op;
  op.kv = scene.kv(c.dtype, c.n_head_kv, c.dim, c.dim_v, c.v_in_k);
  scene.fill_cache(false);
  op.q = scene.input(scene.n_row(), c.n_head * c.dim);
  if (!c.only_q) {
    op.k = scene.input(scene.n_row(), c.n_head_kv * c.dim);
    op.v = c.v_in_k ? TensorRef{} : scene.input(scene.n_row(), c.n_head_kv * c.dim_v);
  }
  if (c.norm) {
    op.q_norm = scene.weight(DType::f32, 1, c.dim);
    op.k_norm = scene.weight(DType::f32, 1, c.dim);
  }
  op.rope = c.rope;
  op.n_rot = c.n_rot;
  op.rot_begin = c.rot_begin;
  op.v_norm = c.v_norm;
  op.temperature = c.temperature;
  op.temperature_length = 16.0f;
  op.inv_freq = c.rope != RopeKind::none ? scene.weight(DType::f32, 1, c.n_rot / 2) : TensorRef{};
  op.magnitude = c.magnitude;
  op.n_head = c.n_head;
  scene.add(op);
  expect_agreement(scene, {{op.q, scene.n_row(), kExact}}, !c.only_q);
}

TEST(RopeKvWriteConformance, AgreesForAllKindsAndDims) {
  std::uint32_t seed = 20000;
  for (const RopeKind rope : {RopeKind::none, RopeKind::pairs, RopeKind::halves}) {
    for (const std::uint32_t dim : {32u, 64u, 80u, 96u, 128u, 256u}) {
      for (const bool norm : {false, true}) {
        check({.rope = rope,
               .dim = dim,
               .dim_v = dim,
               .n_rot = dim,
               .norm = norm,
               .sequences = {{40, 3}}},
              ++seed);
      }
      check({.rope = rope, .dim = dim, .dim_v = 32, .n_rot = dim / 2, .magnitude = 1.19f}, ++seed);
    }
    check({.rope = rope, .dim = 22, .dim_v = 10, .n_rot = 6, .norm = true, .sequences = {{0, 5}}},
          ++seed);
  }
}

TEST(RopeKvWriteConformance, AgreesForAllRowCountsAndKvTypes) {
  std::uint32_t seed = 21000;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0}) {
    for (const std::uint32_t rows : {1u, 2u, 7u, 8u, 9u, 16u, 17u, 33u, 64u, 65u}) {
      check({.dtype = dtype, .sequences = {{rows % 3 * 16, rows}}}, ++seed);
    }
  }
}

TEST(RopeKvWriteConformance, AgreesForEachOption) {
  std::uint32_t seed = 21500;
  const std::vector<SequenceSpec> sequences = {{40, 3}, {0, 18}};
  for (const RopeKind rope : {RopeKind::none, RopeKind::pairs, RopeKind::halves}) {
    check({.rope = rope, .n_rot = 16, .sequences = sequences, .rot_begin = 48}, ++seed);
    check({.rope = rope, .n_rot = 10, .norm = true, .sequences = sequences, .rot_begin = 3},
          ++seed);
    check({.rope = rope, .sequences = sequences, .v_norm = true}, ++seed);
    check({.rope = rope, .sequences = sequences, .temperature = 0.3f}, ++seed);
    check({.rope = rope, .norm = true, .sequences = sequences, .only_q = true}, ++seed);
    check({.rope = rope, .sequences = sequences, .temperature = -0.1f, .only_q = true}, ++seed);
    check({.rope = rope,
           .n_head = 16,
           .n_head_kv = 1,
           .dim = 96,
           .dim_v = 64,
           .n_rot = 32,
           .sequences = sequences,
           .rot_begin = 64,
           .v_in_k = true},
          ++seed);
  }
  check({.rope = RopeKind::pairs,
         .n_head = 128,
         .n_head_kv = 1,
         .dim = 576,
         .dim_v = 512,
         .n_rot = 64,
         .dtype = DType::q8_0,
         .rot_begin = 512,
         .v_in_k = true},
        ++seed);
}

TEST(RopeKvWriteReference, TurnsAndScalesWhereTheOptionsSay) {
  Scene scene(1);
  scene.sequences({{1, 1}});
  ops::RopeKvWrite op;
  op.kv = scene.kv(DType::f32, 1, 4, 4);
  op.q = scene.values<float>(4, {5.0f, 6.0f, 1.0f, 0.0f});
  op.rope = RopeKind::pairs;
  op.n_rot = 2;
  op.rot_begin = 2;
  op.inv_freq = scene.values<float>(1, {1.0f}, true);
  op.n_head = 1;
  scene.add(op);
  expect_values(scene, op.q, {5.0f, 6.0f, 0.540302f, 0.841471f});

  Scene late(1);
  late.sequences({{25, 1}});
  op.kv = late.kv(DType::f32, 1, 4, 4);
  op.q = late.values<float>(4, {1.0f, 2.0f, 3.0f, -4.0f});
  op.rope = RopeKind::none;
  op.inv_freq = {};
  op.temperature = 0.5f;
  op.temperature_length = 10.0f;
  late.add(op);
  const float factor = 1.549306f;  // 1 + 0.5 ln(floor(25 / 10) + 1)
  expect_values(late, op.q, {factor, 2.0f * factor, 3.0f * factor, -4.0f * factor});
}

/// Attention to a single position gives its value back.
TEST(RopeKvWriteReference, NormalisesValuesWithoutWeights) {
  Scene scene(1);
  scene.sequences({{0, 1}});
  ops::RopeKvWrite op;
  op.kv = scene.kv(DType::f32, 1, 2, 2);
  scene.fill_cache(false);
  op.q = scene.input(1, 2);
  op.k = scene.input(1, 2);
  op.v = scene.values<float>(2, {3.0f, 4.0f});
  op.v_norm = true;
  op.norm_eps = 0.0f;
  op.n_head = 1;
  scene.add(op);
  ops::Attention read;
  read.kv = op.kv;
  read.q = op.q;
  read.out = scene.output(1, 2);
  read.n_head = 1;
  scene.add(read);
  expect_values(scene, read.out, {0.848528f, 1.131371f});
}

TEST(RopeKvWriteConformance, WritesAcrossPageBoundariesOfSeveralSequences) {
  check({.n_head = 8, .n_head_kv = 1, .sequences = {{31, 1}, {30, 5}, {0, 32}, {64, 1}}}, 22000);
  check({.n_head = 2,
         .n_head_kv = 2,
         .norm = true,
         .sequences = {{63, 2}, {5, 1}, {100, 40}, {32, 32}}},
        22001);
}

/// At large positions an angle formed in f32 would be off by more than a hundredth of a turn.
TEST(RopeKvWriteConformance, KeepsTheTurnAtLargePositions) {
  check({.n_head = 2, .n_head_kv = 1, .dim_v = 8, .sequences = {{131000, 2}}}, 22100);
}

/// Two layers with one table of frequencies, a third with another.
TEST(RopeKvWriteConformance, SharesTablesOnlyBetweenEqualTurns) {
  Scene scene(22200);
  scene.sequences({{10, 4}});
  const KvRef kv = scene.kv(DType::f16, 2, 32, 32);
  scene.fill_cache(false);
  const TensorRef slow = scene.weight(DType::f32, 1, 16, 0.01f);
  const TensorRef fast = scene.weight(DType::f32, 1, 16);
  std::vector<Compared> compared;
  for (const TensorRef& inv_freq : {slow, slow, fast, slow}) {
    ops::RopeKvWrite op;
    op.kv = kv;
    op.q = scene.input(4, 64);
    op.k = scene.input(4, 64);
    op.v = scene.input(4, 64);
    op.rope = RopeKind::halves;
    op.n_rot = 32;
    op.inv_freq = inv_freq;
    op.magnitude = compared.size() == 3 ? 2.0f : 1.0f;
    op.n_head = 2;
    scene.add(op);
    compared.push_back({op.q, 4, kExact});
  }
  expect_agreement(scene, compared, true);
}

}  // namespace LM_FILE
}  // namespace lm::conformance
