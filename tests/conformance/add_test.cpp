#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace {

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

}  // namespace
}  // namespace lm::conformance
