#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

struct RouteCase {
  std::uint32_t rows = 1, n_expert = 8, n_used = 2;
  ExpertGating gating = ExpertGating::softmax;
  bool bias = false, expert_scale = false, normalize = false;
  float scale = 1.0f;
  std::uint32_t n_group = 1, n_group_used = 1;
  bool outputs = false;
};

ops::MoeRoute route(Scene& scene, const RouteCase& c, const TensorRef& logits) {
  ops::MoeRoute op;
  op.logits = logits;
  op.ids = scene.output(c.rows, c.n_used, DType::i32);
  op.weights = scene.output(c.rows, c.n_used);
  op.gating = c.gating;
  op.normalize = c.normalize;
  op.scale = c.scale;
  op.n_group = c.n_group;
  op.n_group_used = c.n_group_used;
  op.rows = c.outputs ? RowSet::outputs : RowSet::step;
  return op;
}

void check(const RouteCase& c, std::uint32_t seed) {
  LM_CASE(
      "moe_route rows {} experts {} of {} gating {} bias {} scales {} normalize {} groups {}/{}",
      c.rows, c.n_used, c.n_expert, static_cast<int>(c.gating), c.bias, c.expert_scale, c.normalize,
      c.n_group_used, c.n_group);
  Scene scene(seed);
  // Work on the rows that have outputs: fewer than the step has.
  scene.rows(c.outputs ? 2 * c.rows + 1 : c.rows, c.outputs ? c.rows : 0);
  ops::MoeRoute op = route(scene, c, scene.input(c.rows, c.n_expert, 3.0f));
  op.bias = c.bias ? scene.weight(DType::f32, 1, c.n_expert) : TensorRef{};
  op.expert_scale = c.expert_scale ? scene.weight(DType::f32, 1, c.n_expert) : TensorRef{};
  scene.add(op);
  expect_agreement(scene, {{op.weights, c.rows, kExact}});
  const StopFlag stop{false};
  const auto expected = scene.run(reference_backend(), stop).ints(op.ids, c.rows);
  for (Executor& executor : executors()) {
    EXPECT_EQ(scene.run(*executor.backend, stop).ints(op.ids, c.rows), expected) << executor.name;
  }
}

TEST(MoeRouteConformance, AgreesForRowsWithOutputs) {
  check({.rows = 1, .outputs = true}, 60500);
  check({.rows = 6, .n_expert = 64, .n_used = 6, .outputs = true}, 60501);
}

TEST(MoeRouteConformance, AgreesForAllGatingsAndOptions) {
  std::uint32_t seed = 60000;
  for (const ExpertGating gating :
       {ExpertGating::softmax, ExpertGating::sigmoid, ExpertGating::softmax_chosen}) {
    for (const bool normalize : {false, true}) {
      check({.rows = 3, .n_expert = 4, .gating = gating, .normalize = normalize}, ++seed);
      check({.rows = 65,
             .n_expert = 128,
             .n_used = 8,
             .gating = gating,
             .bias = true,
             .normalize = normalize,
             .scale = 2.5f},
            ++seed);
      check({.rows = 7,
             .n_expert = 64,
             .n_used = 6,
             .gating = gating,
             .bias = true,
             .expert_scale = true,
             .normalize = normalize,
             .n_group = 8,
             .n_group_used = 3},
            ++seed);
    }
  }
  check({.n_expert = 1, .n_used = 1}, ++seed);
  check({.n_expert = 384, .n_used = 8, .gating = ExpertGating::sigmoid, .bias = true}, ++seed);
}

struct ByHand {
  RouteCase c;
  std::vector<float> logits;
  std::vector<float> bias = {};
  std::vector<float> expert_scale = {};
  std::vector<float> weights;
  std::vector<std::int32_t> ids;
};

void check(const ByHand& h) {
  Scene scene(1);
  scene.rows(h.c.rows);
  const std::uint32_t n = h.c.n_expert;
  ops::MoeRoute op = route(scene, h.c, scene.values(n, h.logits));
  op.bias = h.bias.empty() ? TensorRef{} : scene.values(n, h.bias, true);
  op.expert_scale = h.expert_scale.empty() ? TensorRef{} : scene.values(n, h.expert_scale, true);
  scene.add(op);
  expect_values(scene, op.weights, h.weights);
  const StopFlag stop{false};
  EXPECT_EQ(scene.run(reference_backend(), stop).ints(op.ids, h.c.rows), h.ids);
}

TEST(MoeRouteReference, GivesWhatTheFormulasGive) {
  const std::vector<float> logits = {1.0f, 3.0f, 2.0f, 0.0f};
  check({.c = {.n_expert = 4}, .logits = logits, .weights = {0.643914f, 0.236883f}, .ids = {1, 2}});
  check({.c = {.n_expert = 4, .normalize = true, .scale = 2.0f},
         .logits = logits,
         .expert_scale = {1.0f, 10.0f, 0.5f, 1.0f},
         .weights = {14.621172f, 0.268941f},
         .ids = {1, 2}});
  check({.c = {.n_expert = 4, .gating = ExpertGating::softmax_chosen},
         .logits = logits,
         .weights = {0.731059f, 0.268941f},
         .ids = {1, 2}});
  // The bias decides who is chosen, not how much it weighs.
  check({.c = {.n_expert = 4, .gating = ExpertGating::sigmoid},
         .logits = logits,
         .bias = {0.0f, -1.0f, 0.0f, 0.9f},
         .weights = {0.5f, 0.880797f},
         .ids = {3, 2}});
  check({.c = {.n_expert = 4, .gating = ExpertGating::sigmoid, .n_group = 2, .n_group_used = 1},
         .logits = logits,
         .weights = {0.952574f, 0.731059f},
         .ids = {1, 0}});
  // Equal choices: the lowest number first.
  check({.c = {.n_expert = 4, .normalize = true},
         .logits = {2.0f, 2.0f, 2.0f, 2.0f},
         .weights = {0.5f, 0.5f},
         .ids = {0, 1}});
}

/// Weights that vanish are divided by 2^-14, not by nothing.
TEST(MoeRouteReference, NormalisesNearlyNothingByTheLeastSum) {
  check({.c = {.n_expert = 2, .gating = ExpertGating::sigmoid, .normalize = true},
         .logits = {-200.0f, -200.0f},
         .weights = {0.0f, 0.0f},
         .ids = {0, 1}});
}

/// Logits come out of a model: whatever they are, ids stay different and in range.
TEST(MoeRouteConformance, ChoosesDifferentExpertsAmongLogitsThatAreNoNumbers) {
  for (const ExpertGating gating :
       {ExpertGating::softmax, ExpertGating::sigmoid, ExpertGating::softmax_chosen}) {
    Scene scene(2);
    const RouteCase c{
        .rows = 3, .n_expert = 4, .n_used = 3, .gating = gating, .n_group = 1, .n_group_used = 1};
    scene.rows(c.rows);
    const float bad = std::numeric_limits<float>::quiet_NaN();
    const float infinite = std::numeric_limits<float>::infinity();
    const ops::MoeRoute op =
        route(scene, c,
              scene.values<float>(4, {bad, bad, bad, bad, infinite, infinite, -infinite, 1.0f,
                                      -infinite, -infinite, -infinite, -infinite}));
    scene.add(op);
    const StopFlag stop{false};
    const auto check_ids = [&](Backend& backend) {
      const auto ids = scene.run(backend, stop).ints(op.ids, c.rows);
      for (std::size_t r = 0; r < ids.size(); r += 3) {
        for (std::size_t i = 0; i < 3; ++i) {
          EXPECT_TRUE(ids[r + i] >= 0 && ids[r + i] < 4);
          EXPECT_NE(ids[r + i], ids[r + (i + 1) % 3]);
        }
      }
    };
    check_ids(reference_backend());
    for (const Executor& executor : executors()) {
      check_ids(*executor.backend);
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm::conformance
