#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

struct FfnCase {
  DType gate = DType::q8_0;
  DType up = DType::q8_0;
  Activation act = Activation::silu;
  std::uint32_t rows = 1, n_embd = 256, n_ff = 100;
  bool gated = true;
  bool bias = false;
  bool outputs = false;
  double limit = kQuantized;
};

void check(const FfnCase& c, std::uint32_t seed) {
  LM_CASE("gated_ffn {}/{} act {} rows {} {} -> {} gated {} bias {} outputs {}",
          layout(c.gate).name, layout(c.up).name, static_cast<int>(c.act), c.rows, c.n_embd, c.n_ff,
          c.gated, c.bias, c.outputs);
  Scene scene(seed);
  // Work on the rows that have outputs: fewer than the step has.
  scene.rows(c.outputs ? 2 * c.rows + 1 : c.rows, c.outputs ? c.rows : 0);
  ops::GatedFfn op;
  op.rows = c.outputs ? RowSet::outputs : RowSet::step;
  // Weights of f32 blocks are of order one: keep the products where the activations bend.
  op.x = scene.input(c.rows, c.n_embd, 2.0f / std::sqrt(static_cast<float>(c.n_embd)));
  op.w_gate = c.gated ? scene.weight(c.gate, c.n_ff, c.n_embd) : TensorRef{};
  op.w_up = scene.weight(c.up, c.n_ff, c.n_embd);
  op.b_gate = c.bias && c.gated ? scene.weight(DType::f32, 1, c.n_ff) : TensorRef{};
  op.b_up = c.bias ? scene.weight(DType::f32, 1, c.n_ff) : TensorRef{};
  op.out = scene.output(c.rows, c.n_ff);
  op.act = c.act;
  scene.add(op);
  expect_agreement(scene, {{op.out, c.rows, c.limit}});
}

TEST(GatedFfnConformance, AgreesForAllActivations) {
  std::uint32_t seed = 30000;
  for (const Activation act :
       {Activation::silu, Activation::gelu_tanh, Activation::gelu_erf, Activation::swiglu_clamped,
        Activation::sigmoid, Activation::identity}) {
    for (const bool gated : {true, false}) {
      if (act == Activation::swiglu_clamped && !gated) {
        continue;
      }
      for (const bool bias : {true, false}) {
        check({.gate = DType::f32,
               .up = DType::f32,
               .act = act,
               .rows = 5,
               .n_embd = 64,
               .n_ff = 77,
               .gated = gated,
               .bias = bias,
               .limit = kExact},
              ++seed);
        check({.act = act, .rows = 3, .gated = gated, .bias = bias}, ++seed);
      }
    }
  }
}

TEST(GatedFfnConformance, AgreesForRowsWithOutputs) {
  check({.rows = 1, .outputs = true}, 31500);
  check({.rows = 9, .bias = true, .outputs = true}, 31501);
  check({.rows = 2, .gated = false, .outputs = true}, 31502);
}

TEST(GatedFfnConformance, AgreesForAllRowCountsAndMixedTypes) {
  std::uint32_t seed = 31000;
  for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 16u, 17u, 33u, 64u, 65u}) {
    check({.rows = rows}, ++seed);
    check({.gate = DType::q4_k, .up = DType::q6_k, .rows = rows, .n_embd = 512}, ++seed);
    check({.gate = DType::q4_0, .up = DType::f16, .rows = rows}, ++seed);
  }
  check({.gate = DType::q4_k, .up = DType::q4_k, .rows = 530, .n_ff = 33},
        ++seed);  // more rows than one pass
}

/// Gate is the first value of a row, up the second; the larger ones reach the clamps at 7.
TEST(GatedFfnReference, ClampsAsItsFormulaSays) {
  Scene scene(1);
  scene.rows(3);
  ops::GatedFfn op;
  op.x = scene.values<float>(2, {2.0f, 3.0f, 10.0f, 9.0f, 1.0f, -9.0f});
  op.w_gate = scene.values<float>(2, {1.0f, 0.0f}, true);
  op.w_up = scene.values<float>(2, {0.0f, 1.0f}, true);
  op.out = scene.output(3, 1);
  op.act = Activation::swiglu_clamped;
  scene.add(op);
  expect_values(scene, op.out, {7.742634f, 55.999625f, -5.074775f}, 1e-4);
}

}  // namespace LM_FILE
}  // namespace lm::conformance
