#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

TEST(MeanRowsConformance, AgreesForRaggedBatches) {
  std::uint32_t seed = 71000;
  for (const std::uint32_t cols : {1u, 7u, 384u}) {
    LM_CASE("mean_rows cols {}", cols);
    Scene scene(++seed);
    scene.sequences({{0, 1}, {0, 700}, {0, 33}});
    scene.outputs({733, 0, 1, 700});
    ops::MeanRows op;
    op.x = scene.input(scene.n_row(), cols);
    op.out = scene.output(4, cols);
    scene.add(op);
    expect_agreement(scene, {{op.out, 4, kExact}});
  }
}

TEST(MeanRowsReference, GivesWhatTheFormulaGives) {
  Scene scene(1);
  scene.sequences({{0, 1}, {0, 2}});
  scene.outputs({2, 0});
  ops::MeanRows op;
  op.x = scene.values<float>(2, {1.0f, 2.0f, 3.0f, 5.0f, 4.0f, 7.0f});
  op.out = scene.output(2, 2);
  scene.add(op);
  expect_values(scene, op.out, {3.5f, 6.0f, 1.0f, 2.0f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
