#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

void check(DType q, DType k, DType v, std::uint32_t rows, bool bias, bool packed,
           std::uint32_t seed) {
  LM_CASE("qkv_matmul {} {} {} rows {} bias {} packed {}", layout(q).name, layout(k).name,
          layout(v).name, rows, bias, packed);
  Scene scene(seed);
  scene.rows(rows);
  ops::QkvMatMul op;
  op.x = scene.input(rows, 512);
  if (packed) {  // three refs into one tensor
    const TensorRef all = scene.weight(q, 192, 512);
    const auto part = [&](std::uint32_t first, std::uint32_t n) {
      TensorRef t = all;
      t.offset += row_bytes(q, 512) * first;
      t.rows = n;
      return t;
    };
    op.wq = part(0, 128);
    op.wk = part(128, 32);
    op.wv = part(160, 32);
  } else {
    op.wq = scene.weight(q, 128, 512);
    op.wk = scene.weight(k, 32, 512);
    op.wv = scene.weight(v, 32, 512);
  }
  if (bias) {
    op.bq = scene.weight(DType::f32, 1, 128);
    op.bk = scene.weight(DType::f32, 1, 32);
    op.bv = scene.weight(DType::f32, 1, 32);
  }
  op.q = scene.output(rows, 128);
  op.k = scene.output(rows, 32);
  op.v = scene.output(rows, 32);
  scene.add(op);
  expect_agreement(scene,
                   {{op.q, rows, kQuantized}, {op.k, rows, kQuantized}, {op.v, rows, kQuantized}});
}

TEST(QkvMatMulConformance, AgreesForMixedTypesBiasesAndPackedWeights) {
  std::uint32_t seed = 50000;
  for (const std::uint32_t rows : {1u, 2u, 5u, 8u, 9u, 17u, 65u}) {
    check(DType::q4_k, DType::q4_k, DType::q6_k, rows, false, false, ++seed);
    check(DType::q8_0, DType::q8_0, DType::q8_0, rows, true, false, ++seed);
    check(DType::q4_0, DType::f16, DType::f32, rows, true, false, ++seed);
    check(DType::q4_k, DType::q4_k, DType::q4_k, rows, true, true, ++seed);
  }
}

}  // namespace LM_FILE
}  // namespace lm::conformance
