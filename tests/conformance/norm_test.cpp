#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

struct NormCase {
  NormKind kind;
  std::uint32_t rows;
  std::uint32_t cols;
  bool weight, bias, accumulate, in_place;
  RowSet set = RowSet::step;
};

void check(const NormCase& c, std::uint32_t seed) {
  LM_CASE("norm kind {} rows {} cols {} weight {} bias {} accumulate {} in place {}",
          static_cast<int>(c.kind), c.rows, c.cols, c.weight, c.bias, c.accumulate, c.in_place);
  Scene scene(seed);
  const bool outputs = c.set == RowSet::outputs;
  scene.rows(outputs ? c.rows + 3 : c.rows, outputs ? c.rows : 0);
  scene.max_rows += 5;  // a bucket larger than the step
  scene.max_outputs += 5;
  ops::Norm op;
  op.kind = c.kind;
  op.rows = c.set;
  op.x = scene.input(c.rows + 8, c.cols, 3.0f);
  op.out = c.in_place ? op.x
                      : (c.accumulate ? scene.input(c.rows + 8, c.cols)
                                      : scene.output(c.rows + 8, c.cols));
  op.weight = c.weight ? scene.weight(DType::f32, 1, c.cols) : TensorRef{};
  op.bias = c.bias ? scene.weight(DType::f32, 1, c.cols) : TensorRef{};
  op.eps = 1e-3f;
  op.accumulate = c.accumulate;
  scene.add(op);
  expect_agreement(scene, {{op.out, c.rows, kExact}});
}

TEST(NormConformance, AgreesForAllKindsOptionsAndWidths) {
  std::uint32_t seed = 1;
  for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
    for (const std::uint32_t cols : {1u, 7u, 64u, 80u, 2048u, 2051u}) {
      check({kind, 3, cols, true, false, false, false}, ++seed);
      check({kind, 3, cols, false, true, false, true}, ++seed);
      check({kind, 3, cols, true, true, true, false}, ++seed);
    }
  }
}

TEST(NormConformance, AgreesForAllRowCounts) {
  std::uint32_t seed = 100;
  for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 16u, 17u, 33u, 64u, 65u}) {
    check({NormKind::rms, rows, 320, true, false, false, false}, ++seed);
    check({NormKind::rms, rows, 320, true, false, false, true, RowSet::outputs}, ++seed);
  }
}

TEST(NormConformance, AgreesForGroups) {
  std::uint32_t seed = 200;
  for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
    for (const std::uint32_t group : {1u, 6u, 64u, 80u, 128u}) {
      for (const bool shared : {true, false}) {
        LM_CASE("norm kind {} group {} shared {}", static_cast<int>(kind), group, shared);
        Scene scene(++seed);
        scene.rows(5);
        const std::uint32_t cols = group * 3;
        ops::Norm op;
        op.kind = kind;
        op.group = group;
        op.x = scene.input(5, cols, 2.0f);
        op.out = shared ? op.x : scene.output(5, cols);
        op.weight = scene.weight(DType::f32, 1, shared ? group : cols);
        op.bias = scene.weight(DType::f32, 1, shared ? cols : group);
        op.eps = 1e-3f;
        scene.add(op);
        expect_agreement(scene, {{op.out, 5, kExact}});
      }
    }
  }
}

TEST(NormReference, NormalisesEachGroupByItself) {
  Scene scene(1);
  scene.rows(1);
  ops::Norm op;
  op.group = 2;
  op.x = scene.values<float>(4, {3.0f, 4.0f, 60.0f, 80.0f});
  op.weight = scene.values<float>(2, {1.0f, 2.0f}, true);
  op.bias = scene.values<float>(4, {0.0f, 0.0f, 0.0f, 1.0f}, true);
  op.out = scene.output(1, 4);
  op.eps = 0.0f;
  scene.add(op);
  expect_values(scene, op.out, {0.848528f, 2.262742f, 0.848528f, 3.262742f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
