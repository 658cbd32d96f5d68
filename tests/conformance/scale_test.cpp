#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

TEST(ScaleConformance, AgreesInPlaceAndApart) {
  std::uint32_t seed = 44000;
  for (const std::uint32_t cols : {1u, 5u, 64u, 1000u}) {
    for (const std::uint32_t rows : {1u, 9u, 65u}) {
      LM_CASE("scale {} x {}", rows, cols);
      Scene scene(++seed);
      scene.rows(rows, rows);
      ops::Scale op;
      op.x = scene.input(rows, cols);
      op.out = seed % 2 == 0 ? op.x : scene.output(rows, cols);
      op.factor = -0.37f;
      op.rows = seed % 3 == 0 ? RowSet::outputs : RowSet::step;
      scene.add(op);
      expect_agreement(scene, {{op.out, rows, 0.0}});
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm::conformance
