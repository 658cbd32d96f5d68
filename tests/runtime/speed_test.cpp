#include "runtime/plan/speed.h"

#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "runtime/plan/calibration.h"
#include "runtime/plan/known_shapes.h"

namespace lm {
namespace LM_FILE {

constexpr std::uint64_t kGiB = 1 << 30;

PlanDevice device(DeviceKind kind, std::uint64_t bytes) {
  return {.id = kind == DeviceKind::cpu ? "cpu" : "vulkan:0",
          .name = "x",
          .kind = kind,
          .total_bytes = bytes,
          .free_bytes = bytes,
          .scratch = {}};
}

DeviceSpeed flat(double gb_s, double gflop_s) {
  DeviceSpeed speed;
  speed.types[DType::q4_k] = {gb_s, gflop_s};
  speed.kv_gb_s = gb_s;
  speed.f32_gflop_s = gflop_s;
  return speed;
}

TEST(Speed, IsBytesOverBandwidthAndFlopsOverRate) {
  const auto file = shape_file(*find_known_shape("Llama-3.1-8B"), "Q4_K_M");
  ASSERT_TRUE(file);
  const auto shape = ModelShape::read(*file);
  ASSERT_TRUE(shape);
  // 4.62 GB are read for a token: all blocks and the output matrix, not the embedding.
  EXPECT_NEAR(decode_bytes(*shape) / 1e9, 4.617, 0.005);
  const PlanDevice devices[] = {device(DeviceKind::cpu, 64 * kGiB)};
  const auto plan = plan_load(*shape, devices, {.n_ctx = 8192});
  ASSERT_TRUE(plan);
  const DeviceSpeed speeds[] = {flat(46.17, 1000)};
  const SpeedEstimate now = estimate_speed(*shape, *plan, speeds);
  EXPECT_NEAR(now.decode_tok_s, 10.0, 0.05);
  // 6.98 billion weights, two operations each, and a little attention.
  EXPECT_NEAR(now.prompt_tok_s, 1000 / (2 * 6.98), 2.5);
  const SpeedEstimate deep = estimate_speed(*shape, *plan, speeds, 8000);
  EXPECT_NEAR(1 / deep.decode_tok_s - 1 / now.decode_tok_s, 8000 * 131072 / 46.17e9, 1e-4);
}

TEST(Speed, ExpertsReadTheirShareAndSplitsAddUp) {
  const auto file = shape_file(*find_known_shape("Qwen3-30B-A3B"), "Q4_K_M");
  ASSERT_TRUE(file);
  const auto shape = ModelShape::read(*file);
  ASSERT_TRUE(shape);
  EXPECT_NEAR(decode_bytes(*shape) / 1e9, 1.92, 0.03);
  const PlanDevice devices[] = {device(DeviceKind::vulkan, 8 * kGiB),
                                device(DeviceKind::cpu, 64 * kGiB)};
  const auto plan = plan_load(*shape, devices, {.n_ctx = 4096});
  ASSERT_TRUE(plan);
  const DeviceSpeed fast[] = {flat(400, 20000), flat(400, 20000)};
  const DeviceSpeed mixed[] = {flat(400, 20000), flat(40, 500)};
  const double all = estimate_speed(*shape, *plan, fast).decode_tok_s;
  const double split = estimate_speed(*shape, *plan, mixed).decode_tok_s;
  EXPECT_GT(all, split);
  EXPECT_GT(split, all / 10);
  const DeviceSpeed unknown[] = {flat(400, 20000), DeviceSpeed{}};
  EXPECT_EQ(estimate_speed(*shape, *plan, unknown).decode_tok_s, 0.0) << "no guess";
}

TEST(Speed, TextGoesThereAndBack) {
  DeviceSpeed speed = flat(12.5, 340);
  speed.types[DType::f16] = {9.5, 120};
  speed.disk_gb_s = 1.5;
  const auto again = speed_from_text(to_text(speed));
  ASSERT_TRUE(again);
  EXPECT_EQ(to_text(*again), to_text(speed));
  for (const char* wrong : {"", "{}", "[1]", R"({"types":3})", R"({"types":{"Q9":[1,2]}})",
                            R"({"types":{"F16":[1]},"kv_gb_s":1})", R"({"types":{}})"}) {
    EXPECT_FALSE(speed_from_text(wrong)) << wrong;
  }
}

TEST(Calibration, MeasuresEveryTypeThroughTheDevicesOwnKernels) {
  const auto cpu = make_cpu_backend({.n_threads = 1, .isa_limit = {}});
  const auto speed = calibrate(*cpu, {.limit = std::chrono::seconds(60), .weight_bytes = 8u << 20});
  ASSERT_TRUE(speed) << speed.error().problem;
  for (const DType type : calibrated_types()) {
    ASSERT_TRUE(speed->types.contains(type)) << layout(type).name;
    EXPECT_GT(speed->types.at(type).decode_gb_s, 0.0);
    EXPECT_GT(speed->types.at(type).prompt_gflop_s, 0.0);
  }
}

}  // namespace LM_FILE
}  // namespace lm
