#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

void check(DType dtype, std::uint32_t n_out, bool bias, float scale, float softcap,
           std::uint32_t seed) {
  LM_CASE("logits {} outputs {} bias {} scale {} softcap {}", layout(dtype).name, n_out, bias,
          scale, softcap);
  Scene scene(seed);
  scene.rows(n_out + 2, n_out);
  ops::Logits op;
  op.x = scene.input(n_out, 256, 2.0f);
  op.weight = scene.weight(dtype, 333, 256);
  op.bias = bias ? scene.weight(DType::f32, 1, 333) : TensorRef{};
  op.out = scene.output(n_out, 333);
  op.scale = scale;
  op.softcap = softcap;
  scene.add(op);
  expect_agreement(scene, {{op.out, n_out, dtype == DType::f32 ? kExact : kQuantized}});
}

TEST(LogitsConformance, AgreesForAllOptions) {
  std::uint32_t seed = 60000;
  for (const std::uint32_t n_out : {1u, 3u, 9u, 33u}) {
    for (const DType dtype : {DType::f32, DType::q8_0, DType::q6_k}) {
      check(dtype, n_out, false, 1.0f, 0.0f, ++seed);
      check(dtype, n_out, true, 0.25f, 0.0f, ++seed);
      check(dtype, n_out, false, 1.0f, 30.0f, ++seed);
      check(dtype, n_out, true, 0.5f, 5.0f, ++seed);
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm::conformance
