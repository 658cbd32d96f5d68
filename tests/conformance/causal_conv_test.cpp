#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

struct ConvCase {
  std::uint32_t channels = 64;
  std::uint32_t taps = 4;
  Activation act = Activation::silu;
  std::vector<SequenceSpec> sequences = {{40, 1}};
};

void check(const ConvCase& c, std::uint32_t seed) {
  LM_CASE("causal_conv channels {} taps {} act {} sequences {}", c.channels, c.taps,
          static_cast<int>(c.act), c.sequences.size());
  Scene scene(seed);
  scene.sequences(c.sequences);
  ops::CausalConv op;
  op.x = scene.input(scene.n_row(), c.channels);
  op.weight = scene.weight(DType::f32, c.channels, c.taps);
  op.out = scene.output(scene.n_row(), c.channels);
  op.act = c.act;
  op.state = scene.state((c.taps - 1) * c.channels);
  scene.add(op);
  expect_agreement(scene, {{op.out, scene.n_row(), kExact}});
}

TEST(CausalConvConformance, AgreesForAllWidthsTapsAndActivations) {
  std::uint32_t seed = 65000;
  for (const std::uint32_t channels : {1u, 5u, 64u, 100u, 515u, 2048u}) {
    for (const std::uint32_t taps : {1u, 2u, 3u, 4u}) {
      check({.channels = channels, .taps = taps}, ++seed);
      check(
          {.channels = channels, .taps = taps, .act = Activation::identity, .sequences = {{0, 9}}},
          ++seed);
    }
  }
}

TEST(CausalConvConformance, AgreesForRaggedBatches) {
  std::uint32_t seed = 66000;
  for (const std::vector<SequenceSpec>& sequences :
       {std::vector<SequenceSpec>{{5, 1}, {0, 2}, {9, 3}, {0, 4}},
        std::vector<SequenceSpec>{{1, 1}, {2, 1}, {3, 1}}, std::vector<SequenceSpec>{{0, 70}},
        std::vector<SequenceSpec>{{0, 2}, {3, 0}, {0, 1}}}) {
    check({.channels = 130, .sequences = sequences}, ++seed);
  }
}

TEST(CausalConvReference, GivesWhatTheFormulaGives) {
  Scene scene(1);
  scene.sequences({{2, 3}, {2, 1}});
  ops::CausalConv op;
  op.x = scene.values<float>(1, {1.0f, 2.0f, 3.0f, 9.0f});
  op.weight = scene.values<float>(3, {1.0f, 10.0f, 100.0f}, true);
  op.out = scene.output(4, 1);
  op.state = scene.state(2);
  scene.set_state(0, {5.0f, 7.0f});
  scene.set_state(1, {0.0f, 0.0f});
  scene.add(op);
  expect_values(scene, op.out, {175.0f, 217.0f, 321.0f, 900.0f});
  const StopFlag stop{false};
  const auto states = scene.run(reference_backend(), stop).states;
  EXPECT_EQ(states[0], (std::vector<float>{2.0f, 3.0f}));
  EXPECT_EQ(states[1], (std::vector<float>{0.0f, 9.0f}));
}

}  // namespace LM_FILE
}  // namespace lm::conformance
