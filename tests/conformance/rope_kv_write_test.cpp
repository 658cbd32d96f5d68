#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace {

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
};

void check(const RopeCase& c, std::uint32_t seed) {
  LM_CASE("rope kind {} heads {}/{} dims {}/{} rot {} norm {} magnitude {} {} first sequence {}+{}",
          static_cast<int>(c.rope), c.n_head, c.n_head_kv, c.dim, c.dim_v, c.n_rot, c.norm,
          c.magnitude, layout(c.dtype).name, c.sequences[0].kv_before, c.sequences[0].rows);
  Scene scene(seed);
  scene.sequences(c.sequences);
  ops::RopeKvWrite op;
  op.kv = scene.kv(c.dtype, c.n_head_kv, c.dim, c.dim_v);
  scene.fill_cache(false);
  op.q = scene.input(scene.n_row(), c.n_head * c.dim);
  op.k = scene.input(scene.n_row(), c.n_head_kv * c.dim);
  op.v = scene.input(scene.n_row(), c.n_head_kv * c.dim_v);
  if (c.norm) {
    op.q_norm = scene.weight(DType::f32, 1, c.dim);
    op.k_norm = scene.weight(DType::f32, 1, c.dim);
  }
  op.rope = c.rope;
  op.n_rot = c.n_rot;
  op.inv_freq = c.rope != RopeKind::none ? scene.weight(DType::f32, 1, c.n_rot / 2) : TensorRef{};
  op.magnitude = c.magnitude;
  op.n_head = c.n_head;
  scene.add(op);
  expect_agreement(scene, {{op.q, scene.n_row(), kExact}}, true);
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
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0}) {
    for (const std::uint32_t rows : {1u, 2u, 7u, 8u, 9u, 16u, 17u, 33u, 64u, 65u}) {
      check({.dtype = dtype, .sequences = {{rows % 3 * 16, rows}}}, ++seed);
    }
  }
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

}  // namespace
}  // namespace lm::conformance
