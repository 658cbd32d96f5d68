#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

TEST(AddConformance, AgreesInPlaceAndApart) {
  std::uint32_t seed = 43000;
  for (const std::uint32_t cols : {1u, 5u, 64u, 1000u}) {
    for (const std::uint32_t rows : {1u, 9u, 65u}) {
      for (const RowSet set : {RowSet::step, RowSet::outputs}) {
        LM_CASE("add {} x {}", rows, cols);
        Scene scene(++seed);
        scene.rows(rows, set == RowSet::outputs ? rows : 0);
        ops::Add op;
        op.a = scene.input(rows, cols);
        op.b = scene.input(rows, cols);
        op.out = seed % 2 == 0 ? op.b : scene.output(rows, cols);
        op.rows = set;
        scene.add(op);
        expect_agreement(scene, {{op.out, rows, 0.0}});
      }
    }
  }
}

TEST(AddConformance, AgreesForFactors) {
  std::uint32_t seed = 43500;
  for (const std::uint32_t cols : {1u, 5u, 300u}) {
    LM_CASE("add with factors, cols {}", cols);
    Scene scene(++seed);
    scene.rows(9);
    ops::Add op;
    op.a = scene.input(9, cols);
    op.b = scene.input(9, cols);
    op.out = scene.output(9, cols);
    op.factor_a = 0.22f;
    op.factor_b = -1.5f;
    scene.add(op);
    expect_agreement(scene, {{op.out, 9, kExact}});
  }
}

TEST(AddReference, WeighsBoth) {
  Scene scene(1);
  scene.rows(1);
  ops::Add op;
  op.a = scene.values<float>(2, {1.0f, 2.0f});
  op.b = scene.values<float>(2, {10.0f, 20.0f});
  op.out = scene.output(1, 2);
  op.factor_a = 3.0f;
  op.factor_b = -0.5f;
  scene.add(op);
  expect_values(scene, op.out, {-2.0f, -4.0f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
