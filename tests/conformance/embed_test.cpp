#include "tests/conformance/executors.h"

namespace lm::conformance {
namespace {

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

}  // namespace
}  // namespace lm::conformance
