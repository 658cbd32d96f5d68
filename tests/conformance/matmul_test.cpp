#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}
double limit_of(DType dtype) {
  return is_float(dtype) ? kExact : kQuantized;
}

struct MatMulCase {
  DType dtype;
  std::uint32_t rows, n_in, n_out;
  bool bias = false;
  bool accumulate = false;
  RowSet set = RowSet::step;
};

void check(const MatMulCase& c, std::uint32_t seed) {
  LM_CASE("matmul {} rows {} {} -> {} bias {} accumulate {}", layout(c.dtype).name, c.rows, c.n_in,
          c.n_out, c.bias, c.accumulate);
  Scene scene(seed);
  const bool outputs = c.set == RowSet::outputs;
  scene.rows(c.rows, outputs ? c.rows : 0);
  ops::MatMul op;
  op.rows = c.set;
  op.x = scene.input(c.rows, c.n_in);
  op.weight = scene.weight(c.dtype, c.n_out, c.n_in);
  op.bias = c.bias ? scene.weight(DType::f32, 1, c.n_out) : TensorRef{};
  op.accumulate = c.accumulate;
  op.out = c.accumulate ? scene.input(c.rows, c.n_out) : scene.output(c.rows, c.n_out);
  scene.add(op);
  expect_agreement(scene, {{op.out, c.rows, limit_of(c.dtype)}});
}

constexpr DType kMainTypes[] = {DType::f32,  DType::f16,  DType::bf16, DType::q8_0, DType::q4_0,
                                DType::q4_1, DType::q4_k, DType::q5_k, DType::q6_k};

TEST(MatMulConformance, AgreesForEveryRowCount) {
  std::uint32_t seed = 1000;
  for (const DType dtype : kMainTypes) {
    for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 16u, 17u, 33u, 64u, 65u}) {
      check({dtype, rows, 512, 67, rows % 2 == 1, rows % 3 == 1}, ++seed);
    }
  }
}

TEST(MatMulConformance, AgreesForOddShapes) {
  std::uint32_t seed = 2000;
  for (const DType dtype : kMainTypes) {
    const std::uint32_t block = layout(dtype).block_elems;
    for (const std::uint32_t n_out : {1u, 2u, 15u, 16u, 130u}) {
      // A single product may cancel to nearly nothing, and says little then: enough of them in all.
      check({dtype, n_out < 15 ? 65u : 1u, block, n_out, true}, ++seed);
      check({dtype, n_out < 15 ? 33u : 5u, block * 3, n_out, false, true}, ++seed);
    }
  }
  for (const std::uint32_t n_in : {1u, 3u, 17u, 100u}) {  // types without blocks take any width
    check({DType::f32, 3, n_in, 9}, ++seed);
    check({DType::f16, 1, n_in, 9}, ++seed);
    check({DType::bf16, 4, n_in, 9}, ++seed);
  }
}

TEST(MatMulConformance, AgreesForOutputRowsAndBigBuckets) {
  check({DType::q8_0, 3, 256, 40, false, false, RowSet::outputs}, 3000);
  check({DType::q4_k, 513, 256, 40}, 3001);  // more rows than one pass
  check({DType::q8_0, 1100, 64, 24}, 3002);
  check({DType::f32, 600, 32, 24, true, true}, 3003);
}

std::vector<DType> all_weight_types() {
  std::vector<DType> types;
  for (std::uint32_t id = 0; id < 64; ++id) {
    const BlockLayout* type = find_layout(id);
    if (type != nullptr && type->use == TypeUse::weight && type->dtype != DType::f64) {
      types.push_back(type->dtype);
    }
  }
  return types;
}

/// Every type that a file may hold weights in, on every instruction set: row counts around the
/// kernels' forms, rows of one block, of three, and of widths that models have.
TEST(MatMulConformance, AgreesForEveryWeightType) {
  std::uint32_t seed = 4000;
  int n_case = 0;
  for (const DType dtype : all_weight_types()) {
    const std::uint32_t block = std::max(32u, layout(dtype).block_elems);
    for (const std::uint32_t rows : {1u, 2u, 3u, 7u, 16u, 33u}) {
      check({dtype, rows, block, rows < 7 ? 100u : 35u, true}, ++seed);
      check({dtype, rows, block * 3, 35, false, rows % 2 == 1}, ++seed);
      n_case += 2;
    }
    for (const std::uint32_t n_in : {192u, 2880u, 11008u, 14336u}) {
      if (n_in % block == 0) {
        check({dtype, 1, n_in, 37}, ++seed);
        check({dtype, 9, n_in, 18}, ++seed);
        n_case += 2;
      }
    }
  }
  EXPECT_EQ(all_weight_types().size(), 28u);
  fmt::print("{} cases of {} types\n", n_case, all_weight_types().size());
}

/// The conversion of x is shared by ops that read it, and made anew when x has changed in between.
TEST(MatMulConformance, SeesChangesOfItsInputBetweenProducts) {
  for (const std::uint32_t rows : {1u, 6u}) {
    LM_CASE("rows {}", rows);
    Scene scene(5000 + rows);
    scene.rows(rows);
    const TensorRef x = scene.input(rows, 256);
    ops::MatMul first;
    first.x = x;
    first.weight = scene.weight(DType::q8_0, 32, 256);
    first.out = scene.output(rows, 32);
    ops::MatMul same = first;
    same.weight = scene.weight(DType::q4_0, 32, 256);
    same.out = scene.output(rows, 32);
    ops::Scale change;
    change.x = change.out = x;
    change.factor = -2.0f;
    ops::MatMul again = first;
    again.out = scene.output(rows, 32);
    ops::MatMul other = first;  // another x in the same form, then the first again
    other.x = scene.input(rows, 256);
    other.out = scene.output(rows, 32);
    ops::MatMul back = again;
    back.out = scene.output(rows, 32);
    for (const Op& op : std::vector<Op>{first, same, change, again, other, back}) {
      scene.add(op);
    }
    expect_agreement(scene, {{first.out, rows, kQuantized},
                             {same.out, rows, kQuantized},
                             {again.out, rows, kQuantized},
                             {other.out, rows, kQuantized},
                             {back.out, rows, kQuantized}});
  }
}

}  // namespace LM_FILE
}  // namespace lm::conformance
