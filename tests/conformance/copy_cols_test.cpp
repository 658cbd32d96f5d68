#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

TEST(CopyColsConformance, MovesOnlyItsColumns) {
  std::uint32_t seed = 70000;
  for (const std::uint32_t rows : {1u, 9u, 65u}) {
    for (const std::uint32_t groups : {1u, 3u, 128u}) {
      for (const bool spread : {false, true}) {
        LM_CASE("copy_cols rows {} groups {} spread {}", rows, groups, spread);
        Scene scene(++seed);
        scene.rows(rows);
        ops::CopyCols op;
        op.groups = groups;
        op.x_groups = spread ? 1 : groups;
        op.x_width = 40;
        op.x_begin = 5;
        op.out_width = 50;
        op.out_begin = 20;
        op.n = 30;
        op.x = scene.input(rows, op.x_groups * op.x_width);
        op.out = scene.input(rows, groups * op.out_width);
        scene.add(op);
        expect_agreement(scene, {{op.out, rows, 0.0}});
      }
    }
  }
}

TEST(CopyColsConformance, MovesTheRowsWithOutputsOnly) {
  LM_CASE("copy_cols of {} outputs of {} rows", 3, 9);
  Scene scene(71000);
  scene.rows(9, 3);
  ops::CopyCols op;
  op.x_width = 40;
  op.x_begin = 5;
  op.out_width = 30;
  op.n = 30;
  op.rows = RowSet::outputs;
  op.x = scene.input(3, op.x_width);
  op.out = scene.input(3, op.out_width);
  scene.add(op);
  expect_agreement(scene, {{op.out, 3, 0.0}});
}

TEST(CopyColsReference, GivesWhatTheFormulaGives) {
  Scene scene(1);
  scene.rows(2);
  ops::CopyCols op;
  op.groups = 2;
  op.x_groups = 1;
  op.x_width = 3;
  op.x_begin = 1;
  op.out_width = 3;
  op.n = 2;
  op.x = scene.values<float>(3, {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f});
  op.out = scene.values<float>(6, std::vector<float>(12, -1.0f));
  scene.add(op);
  expect_values(scene, op.out,
                {2.0f, 3.0f, -1.0f, 2.0f, 3.0f, -1.0f, 5.0f, 6.0f, -1.0f, 5.0f, 6.0f, -1.0f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
