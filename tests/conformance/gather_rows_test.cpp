#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

TEST(GatherRowsConformance, AgreesForAnyRowsInAnyOrder) {
  for (const std::uint32_t n_out : {0u, 1u, 9u, 65u}) {
    LM_CASE("gather_rows {}", n_out);
    Scene scene(42000 + n_out);
    scene.rows(70, n_out);
    ops::GatherRows op;
    op.x = scene.input(70, 333);
    op.out = scene.output(65, 333);
    scene.add(op);
    expect_agreement(scene, {{op.out, n_out, 0.0}});
  }
}

}  // namespace LM_FILE
}  // namespace lm::conformance
