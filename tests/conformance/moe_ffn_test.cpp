#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

// Two products one after the other, each with its activations rounded to int8.
constexpr double kTwoProducts = 2 * kQuantized;

struct MoeCase {
  DType gate = DType::q8_0, up = DType::q8_0, down = DType::q8_0;
  Activation act = Activation::silu;
  std::uint32_t rows = 1, n_expert = 8, n_used = 2, n_embd = 256, n_ff = 64;
  bool gated = true, bias = false, accumulate = false;
  bool fused = false;       ///< gate and up of an expert share a tensor
  bool one_expert = false;  ///< all rows choose the same ones
  bool outputs = false;     ///< the rows that have outputs, not all of the step
  double limit = kTwoProducts;
};

void check(const MoeCase& c, std::uint32_t seed) {
  LM_CASE(
      "moe_ffn {}/{}/{} act {} rows {} experts {} of {} {} -> {} gated {} bias {} accumulate {} "
      "fused {} one {} outputs {}",
      layout(c.gate).name, layout(c.up).name, layout(c.down).name, static_cast<int>(c.act), c.rows,
      c.n_used, c.n_expert, c.n_embd, c.n_ff, c.gated, c.bias, c.accumulate, c.fused, c.one_expert,
      c.outputs);
  Scene scene(seed);
  // Work on the rows that have outputs: fewer than the step has.
  scene.rows(c.outputs ? 2 * c.rows + 1 : c.rows, c.outputs ? c.rows : 0);
  ops::MoeFfn op;
  op.rows = c.outputs ? RowSet::outputs : RowSet::step;
  op.x = scene.input(c.rows, c.n_embd, 2.0f / std::sqrt(static_cast<float>(c.n_embd)));
  std::vector<std::int32_t> ids;
  for (std::uint32_t r = 0; r < c.rows; ++r) {
    for (std::uint32_t u = 0; u < c.n_used; ++u) {
      const std::uint32_t first = c.one_expert ? 3 : r * 5 + r * r;
      ids.push_back(static_cast<std::int32_t>((first + u * 3) % c.n_expert));
    }
  }
  if (c.n_expert % 3 == 0) {  // steps of 3 would meet themselves
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<std::int32_t>((i / c.n_used + i % c.n_used) % c.n_expert);
    }
  }
  op.ids = scene.values(c.n_used, ids);
  op.weights = scene.input(c.rows, c.n_used);
  op.n_expert = c.n_expert;
  op.n_ff = c.n_ff;
  op.expert_stride = c.fused ? 2 * c.n_ff : c.n_ff;
  const std::uint32_t stack = c.n_expert * op.expert_stride;
  op.w_up = scene.weight(c.up, stack, c.n_embd);
  if (c.fused) {
    op.w_gate = op.w_up;
    op.w_up.offset += row_bytes(c.up, c.n_embd) * c.n_ff;
    op.w_up.rows -= c.n_ff;
  } else if (c.gated) {
    op.w_gate = scene.weight(c.gate, stack, c.n_embd);
  }
  const float down_scale = 1.0f / std::sqrt(static_cast<float>(c.n_ff));
  op.w_down = scene.weight(c.down, c.n_expert * c.n_embd, c.n_ff, down_scale);
  if (c.bias) {
    op.b_gate = c.gated ? scene.weight(DType::f32, c.n_expert, c.n_ff) : TensorRef{};
    op.b_up = scene.weight(DType::f32, c.n_expert, c.n_ff);
    op.b_down = scene.weight(DType::f32, c.n_expert, c.n_embd);
  }
  op.out = c.accumulate ? scene.input(c.rows, c.n_embd) : scene.output(c.rows, c.n_embd);
  op.act = c.act;
  op.accumulate = c.accumulate;
  scene.add(op);
  expect_agreement(scene, {{op.out, c.rows, c.limit}});
}

TEST(MoeFfnConformance, AgreesForAllActivationsAndOptions) {
  std::uint32_t seed = 61000;
  for (const Activation act : {Activation::silu, Activation::gelu_tanh, Activation::gelu_erf,
                               Activation::swiglu_clamped}) {
    for (const bool bias : {false, true}) {
      check({.gate = DType::f32,
             .up = DType::f32,
             .down = DType::f32,
             .act = act,
             .rows = 5,
             .n_embd = 48,
             .n_ff = 33,
             .bias = bias,
             .accumulate = bias,
             .limit = kExact},
            ++seed);
      check({.act = act, .rows = 3, .bias = bias, .fused = true}, ++seed);
    }
  }
  check({.act = Activation::gelu_tanh, .rows = 4, .gated = false, .bias = true}, ++seed);
  check({.rows = 1, .gated = false, .accumulate = true}, ++seed);
}

TEST(MoeFfnConformance, AgreesForRowsWithOutputs) {
  check({.rows = 1, .outputs = true}, 61500);
  check({.rows = 5, .bias = true, .outputs = true}, 61501);
  check({.rows = 17, .accumulate = true, .outputs = true}, 61502);
}

TEST(MoeFfnConformance, AgreesForAllRowCounts) {
  std::uint32_t seed = 62000;
  for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 5u, 8u, 9u, 17u, 64u, 65u}) {
    check({.rows = rows}, ++seed);
    check({.gate = DType::q4_k,
           .up = DType::q4_k,
           .down = DType::q6_k,
           .rows = rows,
           .n_expert = 4,
           .n_ff = 256},
          ++seed);
  }
}

TEST(MoeFfnConformance, AgreesForAllExpertCountsAndMixedTypes) {
  std::uint32_t seed = 63000;
  for (const std::uint32_t rows : {1u, 6u, 40u}) {
    check({.rows = rows, .n_expert = 128, .n_used = 8, .n_embd = 64, .n_ff = 32}, ++seed);
    check({.rows = rows, .n_expert = 60, .n_used = 4, .n_embd = 64, .n_ff = 64}, ++seed);
    check({.gate = DType::q4_k,
           .up = DType::q8_0,
           .down = DType::q5_0,
           .rows = rows,
           .n_expert = 16,
           .n_used = 3},
          ++seed);
    check({.gate = DType::q8_0, .up = DType::f16, .down = DType::bf16, .rows = rows}, ++seed);
    check({.gate = DType::f16, .up = DType::q4_0, .down = DType::q4_0, .rows = rows}, ++seed);
    check({.rows = rows, .n_expert = 32, .n_used = 4, .one_expert = true}, ++seed);
  }
}

/// More rows of one expert than a kernel takes at once.
TEST(MoeFfnConformance, AgreesForMoreRowsThanOnePass) {
  check({.rows = 530, .n_expert = 4, .n_used = 2, .n_embd = 64, .n_ff = 32, .one_expert = true},
        64001);
  check({.gate = DType::f32,
         .up = DType::f32,
         .down = DType::f32,
         .rows = 520,
         .n_expert = 2,
         .n_used = 2,
         .n_embd = 16,
         .n_ff = 8,
         .limit = kExact},
        64002);
}

/// Two experts of one hidden value: h = (gate x)(up x), out = sum of weight * down * h.
TEST(MoeFfnReference, GivesWhatTheFormulasGive) {
  Scene scene(1);
  scene.rows(1);
  ops::MoeFfn op;
  op.x = scene.values<float>(2, {2.0f, 3.0f});
  op.ids = scene.values<std::int32_t>(2, {1, 0});
  op.weights = scene.values<float>(2, {0.25f, 0.5f});
  op.w_gate = scene.values<float>(2, {1.0f, 0.0f, 0.0f, 1.0f}, true);
  op.w_up = scene.values<float>(2, {0.0f, 1.0f, 1.0f, 1.0f}, true);
  op.w_down = scene.values<float>(1, {2.0f, 0.0f, 1.0f, -1.0f}, true);
  op.b_down = scene.values<float>(2, {0.0f, 1.0f, 0.0f, 0.0f}, true);
  op.out = scene.output(1, 2);
  op.n_expert = 2;
  op.n_ff = op.expert_stride = 1;
  op.act = Activation::identity;
  scene.add(op);
  // Expert 0: 2 * 3 = 6 -> (12, 0) + (0, 1). Expert 1: 3 * 5 = 15 -> (15, -15).
  expect_values(scene, op.out, {0.5f * 12.0f + 0.25f * 15.0f, 0.5f - 0.25f * 15.0f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
