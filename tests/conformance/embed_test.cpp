#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace LM_FILE {

TEST(EmbedConformance, AgreesForEveryTypeWithScaleAndInputEmbeddings) {
  std::uint32_t seed = 40000;
  for (const DType dtype :
       {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1, DType::q5_0,
        DType::q5_1, DType::q2_k, DType::q3_k, DType::q4_k, DType::q5_k, DType::q6_k}) {
    for (const std::uint32_t rows : {1u, 7u, 65u}) {
      LM_CASE("embed {} rows {}", layout(dtype).name, rows);
      Scene scene(++seed);
      scene.rows(rows);
      ops::Embed op;
      op.table = scene.weight(dtype, 50, 256);
      op.out = scene.output(rows, 256);
      op.scale = rows == 7 ? 16.0f : 1.0f;
      std::vector<std::int32_t> ids;
      for (std::uint32_t r = 0; r < rows; ++r) {
        ids.push_back(rows > 1 && r % 3 == 1 ? kNoToken : static_cast<std::int32_t>(r * 31 % 50));
      }
      scene.tokens(ids);
      scene.embeddings(256);
      scene.add(op);
      expect_agreement(scene, {{op.out, rows, kExact}});
    }
  }
}

/// Ids come from outside: a wrong one must show as NaN in the logits, never read beyond the table.
TEST(EmbedConformance, GivesNotANumberForTokensOutsideTheTable) {
  Scene scene(41000);
  scene.rows(4);
  ops::Embed op;
  op.table = scene.weight(DType::f32, 10, 16);
  op.out = scene.input(4, 16);
  scene.tokens({9, 10, -2, kNoToken});  // the last without embeddings
  scene.add(op);
  const StopFlag stop{false};
  const auto check = [&](Backend& backend) {
    const std::vector<float> out = scene.run(backend, stop).values(op.out, 4);
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(std::isnan(out[i]), i >= 16) << i;
    }
  };
  check(reference_backend());
  for (const Executor& executor : executors()) {
    SCOPED_TRACE(executor.name);
    check(*executor.backend);
  }
}

TEST(EmbedConformance, AgreesForPositionsAndAddedRows) {
  std::uint32_t seed = 42000;
  for (const DType dtype : {DType::f32, DType::f16, DType::q8_0}) {
    for (const bool takes_input : {true, false}) {
      LM_CASE("embed positions {} takes input {}", layout(dtype).name, takes_input);
      Scene scene(++seed);
      scene.sequences({{3, 4}, {0, 2}});
      ops::Embed op;
      op.table = scene.weight(DType::q8_0, 20, 64);
      op.positions = scene.weight(dtype, 9, 64);
      op.add = scene.weight(dtype, 1, 64);
      op.out = scene.output(6, 64);
      op.takes_input = takes_input;
      scene.tokens({1, 2, kNoToken, 19, 0, kNoToken});
      scene.embeddings(64);
      scene.add(op);
      expect_agreement(scene, {{op.out, 6, kExact}});
    }
  }
}

TEST(EmbedReference, AddsPositionAndRow) {
  Scene scene(1);
  scene.sequences({{1, 3}});
  ops::Embed op;
  op.table = scene.values<float>(2, {1.0f, 2.0f, 3.0f, 4.0f}, true);
  op.positions = scene.values<float>(2, {0.0f, 0.0f, 10.0f, 20.0f, 30.0f, 40.0f}, true);
  op.add = scene.values<float>(2, {100.0f, 200.0f}, true);
  op.out = scene.output(3, 2);
  op.scale = 2.0f;
  op.takes_input = false;
  scene.tokens({1, kNoToken, 0});
  scene.add(op);
  // The third row stands behind the last learned position.
  const StopFlag stop{false};
  const std::vector<float> out = scene.run(reference_backend(), stop).values(op.out, 3);
  EXPECT_TRUE(std::isnan(out[4]) && std::isnan(out[5]));
  expect_values(scene, op.out, {116.0f, 228.0f, 130.0f, 240.0f});
}

}  // namespace LM_FILE
}  // namespace lm::conformance
