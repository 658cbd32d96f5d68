#include "runtime/plan/planner.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "runtime/plan/known_shapes.h"

namespace lm {
namespace LM_FILE {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kGiB = 1 << 30;

/// Published sizes: gguf tensor bytes of real files, and the KV of one token.
struct Check {
  const char* name;
  std::uint64_t f16, q8_0, q4_k_m, embedding_on_cpu, kv_f16, kv_q8_0;
};
const Check kChecks[] = {
    {"Llama-3.2-1B", 2'471'764'096, 1'313'251'456, 799'862'912, 0, 32'768, 17'408},
    {"Llama-3.2-3B", 6'425'850'112, 3'414'061'312, 2'011'539'712, 0, 114'688, 60'928},
    {"Llama-3.1-8B", 16'061'055'232, 8'532'934'912, 4'912'898'304, 295'501'824, 131'072, 69'632},
    {"Qwen3-0.6B", 1'192'230'912, 633'495'552, 390'753'280, 0, 114'688, 60'928},
    {"Qwen3-4B", 8'045'328'384, 4'274'448'384, 2'491'323'904, 0, 147'456, 78'336},
    {"Qwen3-8B", 16'382'087'168, 8'703'561'728, 5'021'827'072, 350'060'544, 147'456, 78'336},
    {"Qwen3-14B", 29'537'464'320, 15'692'574'720, 8'995'793'920, 437'575'680, 163'840, 87'040},
    {"Qwen3-32B", 65'525'600'256, 34'811'744'256, 19'756'174'336, 437'575'680, 262'144, 139'264},
    {"Qwen3-30B-A3B", 61'089'832'960, 32'477'962'240, 18'550'716'416, 175'030'272, 98'304, 52'224},
    {"Llama-3.3-70B", 141'110'051'072, 74'967'187'712, 42'512'531'712, 591'003'648, 327'680,
     174'080},
};

PlanDevice gpu(std::uint64_t free, std::string id = "vulkan:0") {
  return {.id = std::move(id),
          .name = "a card",
          .kind = DeviceKind::vulkan,
          .total_bytes = free,
          .free_bytes = free,
          .scratch = {}};
}

PlanDevice host(std::uint64_t free = 64 * kGiB) {
  return {.id = "cpu",
          .name = "a processor",
          .kind = DeviceKind::cpu,
          .total_bytes = free,
          .free_bytes = free,
          .scratch = {}};
}

/// A shape whose file lives as long.
struct Shaped {
  GgufFile file;
  ModelShape shape;
};

std::unique_ptr<Shaped> shaped(std::string_view name, std::string_view quant) {
  auto file = shape_file(*find_known_shape(name), quant);
  EXPECT_TRUE(file) << file.error().problem;
  auto result = std::make_unique<Shaped>(Shaped{std::move(*file), {}});
  auto shape = ModelShape::read(result->file);
  EXPECT_TRUE(shape) << shape.error().subject << ": " << shape.error().problem;
  result->shape = std::move(*shape);
  return result;
}

LoadPlan plan_of(const Shaped& model, const std::vector<PlanDevice>& devices,
                 const PlanWish& wish = {}) {
  auto plan = plan_load(model.shape, devices, wish);
  EXPECT_TRUE(plan) << plan.error().problem;
  // Whatever was decided: parts sum to totals, and what fits is within its budget.
  std::uint64_t sum = 0;
  for (std::size_t d = 0; d < devices.size(); ++d) {
    const DeviceBytes& b = plan->bytes[d];
    EXPECT_EQ(b.weights + b.kv + b.spare + b.arena + b.scratch + b.staging, b.total());
    sum += b.total();
    if (plan->fits && b.weights > 0) {
      EXPECT_LE(b.total(), plan->budget[d]) << devices[d].id;
    }
  }
  EXPECT_EQ(plan->total(), sum);
  EXPECT_FALSE(plan->reasons.empty());
  return *std::move(plan);
}

TEST(KnownShapes, WeightsAreThoseOfPublishedFilesToTheByte) {
  for (const Check& check : kChecks) {
    EXPECT_EQ(shaped(check.name, "F16")->file.tensor_bytes(), check.f16) << check.name;
    EXPECT_EQ(shaped(check.name, "Q8_0")->file.tensor_bytes(), check.q8_0) << check.name;
    EXPECT_EQ(shaped(check.name, "Q4_K_M")->file.tensor_bytes(), check.q4_k_m) << check.name;
  }
}

TEST(KnownShapes, FindsByNameSizeAndBits) {
  EXPECT_EQ(nearest_known_shape(70).name, "Llama-3.3-70B");
  EXPECT_EQ(nearest_known_shape(8).name, "Llama-3.1-8B");
  EXPECT_EQ(nearest_known_shape(31).name, "Qwen3-32B") << "dense before experts";
  EXPECT_EQ(nearest_known_shape(0).name, "Qwen3-0.6B");
  EXPECT_EQ(find_known_shape("Llama-9"), nullptr);
  EXPECT_EQ(quant_of_bits(4), "Q4_K_M");
  EXPECT_EQ(quant_of_bits(7), "");
  const auto wrong = shape_file(known_shapes()[0], "Q9");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::invalid_argument);
}

TEST(Planner, KvIsExactForEveryCheckedModel) {
  for (const Check& check : kChecks) {
    const auto model = shaped(check.name, "Q4_K_M");
    for (const auto& [type, per_token] :
         {std::pair{DType::f16, check.kv_f16}, std::pair{DType::q8_0, check.kv_q8_0}}) {
      const LoadPlan plan =
          plan_of(*model, {gpu(200 * kGiB), host()}, {.n_ctx = 8192, .kv_type = type});
      EXPECT_TRUE(plan.fits);
      EXPECT_EQ(plan.bytes[0].kv, 8192 * per_token) << check.name;
      EXPECT_EQ(plan.gpu_layers, model->shape.hparams().n_layer);
      // Slabs hold tensors in multiples of 256 bytes; rope factors are read on the host.
      EXPECT_NEAR(static_cast<double>(plan.bytes[0].weights),
                  static_cast<double>(check.q4_k_m - check.embedding_on_cpu), 1e5)
          << check.name;
      EXPECT_EQ(plan.bytes[1].weights, check.embedding_on_cpu) << check.name;
    }
  }
}

Hparams windowed(std::uint32_t n_layer, std::uint32_t n_kv, std::uint32_t dim, std::uint32_t window,
                 std::uint32_t period) {
  Hparams h;
  h.n_layer = n_layer;
  h.n_ctx_train = 131072;
  for (std::uint32_t il = 0; il < n_layer; ++il) {
    LayerParams p;
    p.n_head = p.n_head_kv = n_kv;
    p.head_dim_k = p.head_dim_v = dim;
    p.window = il % period < period - 1 ? window : 0;
    h.layers.push_back(p);
  }
  return h;
}

std::uint64_t kv_mib(const Hparams& h, std::uint32_t n_ctx) {
  const auto kv = kv_layout(h, {}, 1, DType::f16);
  EXPECT_TRUE(kv);
  return memory_plan(*kv, {{0}, {0}, {0}}, {.n_ctx = n_ctx})[0].kv / kMiB;
}

TEST(Planner, WindowsCostWhatTheyHold) {
  const Hparams gemma3_12b = windowed(48, 8, 256, 1024, 6);
  EXPECT_EQ(kv_mib(gemma3_12b, 8192), 992u);
  EXPECT_EQ(kv_mib(gemma3_12b, 32768), 2528u);
  EXPECT_EQ(kv_mib(gemma3_12b, 131072), 8672u);
  const Hparams gpt_oss_20b = windowed(24, 8, 64, 128, 2);
  EXPECT_EQ(kv_mib(gpt_oss_20b, 8192), 207u);
  EXPECT_EQ(kv_mib(gpt_oss_20b, 131072), 3087u);
}

TEST(Planner, LatentAttentionKeepsOneVectorATokenAndLayer) {
  Hparams h;
  h.n_layer = 61;
  h.n_ctx_train = 131072;
  LayerParams p;
  p.n_head = 128;
  p.n_head_kv = 1;
  p.head_dim_k = 576;
  p.head_dim_v = 512;
  p.v_in_k = true;
  h.layers.assign(61, p);
  EXPECT_EQ(kv_mib(h, 32768), 2196u);
}

TEST(Planner, EverythingOnACardThatHoldsItAndTheContextGrows) {
  const auto model = shaped("Llama-3.1-8B", "Q4_K_M");
  const LoadPlan small = plan_of(*model, {gpu(6 * kGiB), host()});
  const LoadPlan large = plan_of(*model, {gpu(12 * kGiB), host()});
  const LoadPlan huge = plan_of(*model, {gpu(80 * kGiB), host()});
  EXPECT_TRUE(small.fits && large.fits && huge.fits);
  EXPECT_EQ(small.gpu_layers, 32u);
  EXPECT_GE(small.n_ctx, 4096u);
  EXPECT_GT(large.n_ctx, small.n_ctx);
  EXPECT_EQ(huge.n_ctx, 131072u);
  EXPECT_LE(large.bytes[0].total(), large.budget[0]);
  // One page more would not fit: the context is the longest.
  const LoadPlan more =
      plan_of(*model, {gpu(12 * kGiB), host()}, {.n_ctx = large.n_ctx + kPageTokens});
  EXPECT_LT(more.gpu_layers, 32u);
}

TEST(Planner, LayersLeaveTheGpuOnlyAtTheContextFloor) {
  const auto model = shaped("Llama-3.1-8B", "Q4_K_M");
  const LoadPlan plan = plan_of(*model, {gpu(4 * kGiB), host()});
  EXPECT_TRUE(plan.fits);
  EXPECT_GT(plan.gpu_layers, 15u);
  EXPECT_LT(plan.gpu_layers, 32u);
  EXPECT_EQ(plan.n_ctx, 4096u);
  EXPECT_TRUE(plan.output_on_gpu);
  EXPECT_EQ(plan.placement.attention.front(), 1u) << "the first layers are the CPU's";
  EXPECT_EQ(plan.placement.attention.back(), 0u);
  EXPECT_EQ(plan.placement.output, 0u);
  EXPECT_EQ(plan.placement.embedding, 1u);
}

TEST(Planner, ExpertsLeaveTheGpuBeforeLayersDo) {
  const auto model = shaped("Qwen3-30B-A3B", "Q4_K_M");
  const LoadPlan plan = plan_of(*model, {gpu(8 * kGiB), host()});
  EXPECT_TRUE(plan.fits);
  EXPECT_EQ(plan.gpu_layers, 48u);
  EXPECT_GT(plan.gpu_expert_layers, 0u);
  EXPECT_LT(plan.gpu_expert_layers, 48u);
  const LoadPlan tiny = plan_of(*model, {gpu(2 * kGiB), host()});
  EXPECT_EQ(tiny.gpu_layers, 48u) << "attention of all layers needs little";
  EXPECT_LT(tiny.gpu_expert_layers, 3u);
}

TEST(Planner, WhatTheUserFixesIsKeptAndTheRestIsSolved) {
  const auto model = shaped("Llama-3.1-8B", "Q4_K_M");
  const LoadPlan ten = plan_of(*model, {gpu(8 * kGiB), host()}, {.gpu_layers = 10});
  EXPECT_EQ(ten.gpu_layers, 10u);
  EXPECT_GT(ten.n_ctx, 4096u) << "the context is still solved";
  const LoadPlan context = plan_of(*model, {gpu(8 * kGiB), host()}, {.n_ctx = 65536});
  EXPECT_EQ(context.n_ctx, 65536u);
  EXPECT_LT(context.gpu_layers, 32u);
  const LoadPlan none = plan_of(*model, {gpu(8 * kGiB), host()}, {.gpu_layers = 0});
  EXPECT_EQ(none.gpu_layers, 0u);
  EXPECT_EQ(none.bytes[0].weights + none.bytes[0].kv + none.bytes[0].spare, 0u);
  const LoadPlan capped = plan_of(*model, {gpu(24 * kGiB), host()}, {.max_vram = 4 * kGiB});
  EXPECT_LE(capped.bytes[0].total(), 4 * kGiB);
  const LoadPlan impossible = plan_of(*model, {gpu(4 * kGiB), host()}, {.gpu_layers = 32});
  EXPECT_FALSE(impossible.fits);
  EXPECT_FALSE(impossible.from_disk);
}

TEST(Planner, MoreMemoryNeverGivesFewerLayers) {
  for (const char* name : {"Llama-3.2-1B", "Llama-3.1-8B", "Qwen3-30B-A3B"}) {
    const auto model = shaped(name, "Q4_K_M");
    std::uint32_t layers = 0, experts = 0;
    for (std::uint64_t mib = 256; mib <= 24 * 1024; mib += mib < 4096 ? 512 : 2048) {
      const LoadPlan plan = plan_of(*model, {gpu(mib * kMiB), host()});
      EXPECT_GE(plan.gpu_layers, layers) << name << " at " << mib;
      EXPECT_GE(plan.gpu_expert_layers, experts) << name << " at " << mib;
      layers = plan.gpu_layers;
      experts = plan.gpu_expert_layers;
    }
    EXPECT_EQ(layers, model->shape.hparams().n_layer) << name;
  }
}

TEST(Planner, TwoCardsShareInProportionAndEachHoldsItsPart) {
  const auto model = shaped("Llama-3.3-70B", "Q4_K_M");
  const LoadPlan plan = plan_of(
      *model, {gpu(24 * kGiB, "cuda:0"), gpu(24 * kGiB, "cuda:1"), host()}, {.n_ctx = 4096});
  EXPECT_EQ(plan.gpu_layers, 80u);
  const auto on = [&](std::uint16_t d) { return std::ranges::count(plan.placement.attention, d); };
  EXPECT_NEAR(static_cast<double>(on(0)), 40, 3);
  EXPECT_EQ(on(0) + on(1), 80);
  EXPECT_TRUE(std::ranges::is_sorted(plan.placement.attention)) << "one copy between the cards";
  const LoadPlan uneven = plan_of(
      *model, {gpu(40 * kGiB, "cuda:0"), gpu(12 * kGiB, "cuda:1"), host()}, {.n_ctx = 4096});
  EXPECT_TRUE(uneven.fits);
  EXPECT_EQ(uneven.gpu_layers, 80u);
}

TEST(Planner, TheCpuAloneTakesTheLongestContextOrReadsFromTheDisk) {
  const auto model = shaped("Llama-3.1-8B", "Q4_K_M");
  const LoadPlan roomy = plan_of(*model, {host(16 * kGiB)});
  EXPECT_TRUE(roomy.fits);
  EXPECT_GT(roomy.n_ctx, 4096u);
  const LoadPlan tight = plan_of(*model, {host(3 * kGiB)});
  EXPECT_FALSE(tight.fits);
  EXPECT_TRUE(tight.from_disk);
  EXPECT_EQ(tight.n_ctx, 4096u);
  const LoadPlan dead = plan_of(*model, {host(300 * kMiB)});
  EXPECT_FALSE(dead.fits || dead.from_disk);
}

TEST(Planner, AGpuOfTheHostsMemoryIsNotCountedTwice) {
  const auto model = shaped("Llama-3.1-8B", "Q4_K_M");
  PlanDevice integrated = gpu(16 * kGiB);
  integrated.unified = true;
  const LoadPlan plan = plan_of(*model, {integrated, host(16 * kGiB)});
  EXPECT_TRUE(plan.fits);
  EXPECT_LE(plan.total(), plan.budget[1]);
}

// Regressions of other tools (gpu.md 6).
TEST(Planner, ASmallCardIsUsedAndNotRefusedForAMinimum) {
  // 2.6 GiB of model, 3.2 GiB free: others wanted 4.26 GiB.
  const auto model = shaped("Qwen3-4B", "Q4_K_M");
  const LoadPlan plan = plan_of(*model, {gpu(3277 * kMiB), host()});
  EXPECT_TRUE(plan.fits);
  EXPECT_GT(plan.gpu_layers, 30u);
}

TEST(Planner, QuantisedKvCounts) {
  const auto model = shaped("Llama-3.1-8B", "Q4_K_M");
  const PlanWish f16{.n_ctx = 131072}, q4{.n_ctx = 131072, .kv_type = DType::q4_0};
  const LoadPlan wide = plan_of(*model, {gpu(80 * kGiB), host()}, f16);
  const LoadPlan narrow = plan_of(*model, {gpu(80 * kGiB), host()}, q4);
  EXPECT_EQ(narrow.bytes[0].kv * 32, wide.bytes[0].kv * 9);
  EXPECT_GT(plan_of(*model, {gpu(12 * kGiB), host()}, q4).gpu_layers,
            plan_of(*model, {gpu(12 * kGiB), host()}, f16).gpu_layers);
}

TEST(Planner, ExpertsAreSizedByAllOfThem) {
  const auto model = shaped("Qwen3-30B-A3B", "Q4_K_M");
  const LoadPlan plan = plan_of(*model, {gpu(80 * kGiB), host()});
  EXPECT_GT(plan.bytes[0].weights, 17 * kGiB);
}

TEST(Planner, SeveralSequencesAreGuaranteedTheirContext) {
  const auto model = shaped("Llama-3.1-8B", "Q4_K_M");
  const LoadPlan one = plan_of(*model, {gpu(24 * kGiB), host()}, {.n_ctx = 8192});
  const LoadPlan four = plan_of(*model, {gpu(24 * kGiB), host()}, {.n_ctx = 8192, .n_seq = 4});
  EXPECT_EQ(four.bytes[0].kv, 4 * one.bytes[0].kv);
}

TEST(Planner, DevicesMustEndWithTheCpu) {
  const auto model = shaped("Llama-3.2-1B", "Q4_K_M");
  for (const auto& devices :
       {std::vector<PlanDevice>{}, std::vector<PlanDevice>{gpu(kGiB)},
        std::vector<PlanDevice>{host(), gpu(kGiB)}, std::vector<PlanDevice>{host(), host()}}) {
    const auto plan = plan_load(model->shape, devices, {});
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code, ErrorCode::invalid_argument);
  }
}

}  // namespace LM_FILE
}  // namespace lm
