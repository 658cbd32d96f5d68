#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

enum class Factor { same, a_row, constant, constant_one };

TEST(MulConformance, AgreesForAllFactorsAndActivations) {
  std::uint32_t seed = 72000;
  for (const Activation act : {Activation::identity, Activation::sigmoid, Activation::silu,
                               Activation::gelu_tanh, Activation::gelu_erf}) {
    for (const Factor factor :
         {Factor::same, Factor::a_row, Factor::constant, Factor::constant_one}) {
      for (const std::uint32_t rows : {1u, 9u, 65u}) {
        for (const std::uint32_t cols : {1u, 5u, 300u}) {
          LM_CASE("mul act {} factor {} {} x {}", static_cast<int>(act), static_cast<int>(factor),
                  rows, cols);
          Scene scene(++seed);
          const bool outputs = seed % 3 == 0;
          scene.rows(rows, outputs ? rows : 0);
          ops::Mul op;
          op.rows = outputs ? RowSet::outputs : RowSet::step;
          op.act = act;
          op.a_constant = factor == Factor::constant || factor == Factor::constant_one;
          const bool one = factor == Factor::a_row || factor == Factor::constant_one;
          op.a = op.a_constant ? scene.weight(DType::f32, 1, one ? 1 : cols)
                               : scene.input(rows, one ? 1 : cols);
          op.b = scene.input(rows, cols);
          op.out = seed % 2 == 0 ? op.b : scene.output(rows, cols);
          scene.add(op);
          expect_agreement(scene, {{op.out, rows, kExact}});
        }
      }
    }
  }
}

TEST(MulReference, GivesWhatTheFormulaGives) {
  Scene scene(1);
  scene.rows(2);
  ops::Mul op;
  op.a = scene.values<float>(1, {0.0f, 1.0f});
  op.b = scene.values<float>(2, {2.0f, 4.0f, 2.0f, 4.0f});
  op.out = scene.output(2, 2);
  op.act = Activation::sigmoid;
  scene.add(op);
  expect_values(scene, op.out, {1.0f, 2.0f, 1.462117f, 2.924234f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
