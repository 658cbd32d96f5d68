#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

struct HeadCase {
  DType dtype = DType::q8_0;
  std::uint32_t rows = 1, n_head = 4, n_in = 64, n_out = 33;
  std::uint32_t x_more = 0, out_more = 0;  ///< columns of a head that are left alone
  double limit = kQuantized;
};

void check(const HeadCase& c, std::uint32_t seed) {
  LM_CASE("head_matmul {} rows {} heads {} {} -> {} more {} {}", layout(c.dtype).name, c.rows,
          c.n_head, c.n_in, c.n_out, c.x_more, c.out_more);
  Scene scene(seed);
  scene.rows(c.rows);
  ops::HeadMatMul op;
  op.n_head = c.n_head;
  op.x_width = c.n_in + c.x_more;
  op.out_width = c.n_out + c.out_more;
  op.x = scene.input(c.rows, c.n_head * op.x_width);
  op.weight = scene.weight(c.dtype, c.n_head * c.n_out, c.n_in);
  op.out = scene.input(c.rows, c.n_head * op.out_width);  // other columns are compared too
  scene.add(op);
  expect_agreement(scene, {{op.out, c.rows, c.limit}});
}

TEST(HeadMatMulConformance, AgreesForAllTypesAndRowCounts) {
  std::uint32_t seed = 69000;
  for (const std::uint32_t rows : {1u, 2u, 5u, 8u, 33u, 65u}) {
    check({.dtype = DType::f32, .rows = rows, .n_in = 20, .limit = kExact}, ++seed);
    check({.dtype = DType::f16, .rows = rows, .limit = kExact}, ++seed);
    check({.rows = rows, .x_more = 16, .out_more = 7}, ++seed);
    check({.dtype = DType::q4_k, .rows = rows, .n_in = 256, .x_more = 3}, ++seed);
  }
  check({.rows = 3, .n_head = 128, .n_in = 128, .n_out = 64, .x_more = 64, .out_more = 64}, ++seed);
  check({.rows = 520, .n_head = 2, .n_in = 32, .n_out = 20, .out_more = 1}, ++seed);
}

TEST(HeadMatMulReference, GivesWhatTheFormulaGives) {
  Scene scene(1);
  scene.rows(1);
  ops::HeadMatMul op;
  op.n_head = 2;
  op.x_width = 3;
  op.out_width = 2;
  op.x = scene.values<float>(6, {1.0f, 2.0f, 77.0f, 3.0f, 4.0f, 77.0f});
  op.weight = scene.values<float>(2, {1.0f, 10.0f, 100.0f, 1000.0f}, true);
  op.out = scene.values<float>(4, {-1.0f, -2.0f, -3.0f, -4.0f});
  scene.add(op);
  expect_values(scene, op.out, {21.0f, -2.0f, 4300.0f, -4.0f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
