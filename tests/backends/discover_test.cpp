#include "backends/discover.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace lm {
namespace LM_FILE {

DiscoverOptions with_modules(const char* kind) {
  DiscoverOptions options;
  options.cpu.n_threads = 1;
  options.module_dirs = {std::filesystem::path(LM_BINARY_DIR) / "test_modules" / kind};
  return options;
}

std::string status_of(const Discovery& found, std::string_view name) {
  for (const ModuleStatus& module : found.modules) {
    if (module.name == name) {
      return module.status;
    }
  }
  return "not listed";
}

TEST(OpenBackend, OpensTheCpuAndTheReferenceByName) {
  const DiscoverOptions options = with_modules("none");
  const auto cpu = open_backend("cpu", options);
  ASSERT_TRUE(cpu);
  EXPECT_EQ((*cpu)->info().kind, DeviceKind::cpu);
  EXPECT_EQ((*cpu)->info().id, "cpu");
  const auto reference = open_backend("reference", options);
  ASSERT_TRUE(reference);
  EXPECT_EQ((*reference)->info().kind, DeviceKind::reference);
}

TEST(OpenBackend, SaysWhereItLookedWhenAModuleIsAbsent) {
  for (const char* spec : {"cuda", "cuda:0", "vulkan", "vulkan:3"}) {
    const auto backend = open_backend(spec, with_modules("none"));
    ASSERT_FALSE(backend) << spec;
    EXPECT_EQ(backend.error().code, ErrorCode::module);
    EXPECT_NE(backend.error().problem.find("not part of this build"), std::string::npos);
    EXPECT_NE(backend.error().problem.find("test_modules/none"), std::string::npos);
  }
}

TEST(OpenBackend, RefusesNamesThatAreNone) {
  for (const char* spec :
       {"", "cpu:0", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999", "gpu"}) {
    const auto backend = open_backend(spec, with_modules("good"));
    ASSERT_FALSE(backend) << spec;
    EXPECT_EQ(backend.error().code, ErrorCode::invalid_argument) << spec;
    EXPECT_FALSE(backend.error().hint.empty());
  }
}

TEST(OpenBackend, OpensADeviceOfAModuleAndRunsOnIt) {
  auto backend = open_backend("cuda:0", with_modules("good"));
  ASSERT_TRUE(backend) << backend.error().problem;
  auto arena = (*backend)->alloc(64);
  ASSERT_TRUE(arena);
  Segment segment;
  ops::Scale op;
  op.x = op.out = {DType::f32, kArena, 0, 1, 4};
  op.factor = 3.0f;
  segment.ops.push_back(op);
  Buffer* buffers[] = {arena->get()};
  CompileRequest request;
  request.segment = &segment;
  request.buffers = buffers;
  request.max_rows = 1;
  auto executable = (*backend)->compile(request);
  ASSERT_TRUE(executable) << executable.error().problem;
  reinterpret_cast<float*>((*arena)->host())[2] = 7.0f;
  StepInput step;
  step.n_row = 1;
  EXPECT_EQ((*executable)->run(step, StopFlag{false}), RunStatus::done);
  EXPECT_EQ(reinterpret_cast<float*>((*arena)->host())[2], 21.0f);
}

TEST(OpenBackend, PassesOnTheErrorsOfAModule) {
  const auto missing = open_backend("cuda:2", with_modules("good"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(missing.error().subject, "device cuda:2");
  const auto broken = open_backend("cuda:1", with_modules("good"));
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::device_lost);
  EXPECT_EQ(broken.error().problem, "fell off the bus");
  EXPECT_EQ(broken.error().os_error, 79);
}

TEST(OpenBackend, RefusesAModuleOfAnotherBuild) {
  const auto backend = open_backend("cuda", with_modules("stale"));
  ASSERT_FALSE(backend);
  EXPECT_EQ(backend.error().code, ErrorCode::module);
  EXPECT_NE(backend.error().problem.find(
                "built for another lm (got lm 0.0.1 another build, expected lm "),
            std::string::npos)
      << backend.error().problem;
}

TEST(OpenBackend, RefusesFilesThatAreNoModules) {
  const auto empty = open_backend("cuda", with_modules("empty"));
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().problem.find("is no module of lm"), std::string::npos);
  const auto misnamed = open_backend("vulkan", with_modules("misnamed"));
  ASSERT_FALSE(misnamed);
  EXPECT_NE(misnamed.error().problem.find("calls itself cuda"), std::string::npos);
}

TEST(OpenBackend, TakesTheFirstDeviceThatWorksForAuto) {
  EXPECT_EQ((*open_backend("auto", with_modules("none")))->info().kind, DeviceKind::cpu);
  EXPECT_EQ((*open_backend("auto", with_modules("stale")))->info().kind, DeviceKind::cpu);
  EXPECT_EQ((*open_backend("auto", with_modules("idle")))->info().kind, DeviceKind::cpu);
  EXPECT_EQ((*open_backend("auto", with_modules("good")))->info().kind, DeviceKind::reference);
}

TEST(OpenBackend, SaysWhyAModuleHasNoDevices) {
  const auto backend = open_backend("cuda", with_modules("idle"));
  ASSERT_FALSE(backend);
  EXPECT_EQ(backend.error().code, ErrorCode::module);
  EXPECT_EQ(backend.error().problem, "unavailable: no driver");
}

TEST(Discover, ListsTheCpuAlwaysAndOneLineForEachModule) {
  const Discovery none = discover(with_modules("none"));
  ASSERT_EQ(none.devices.size(), 1u);
  EXPECT_EQ(none.devices[0].id, "cpu");
  EXPECT_GT(none.devices[0].total_bytes, 0u);
  EXPECT_LE(none.devices[0].free_bytes, none.devices[0].total_bytes);
  EXPECT_EQ(none.modules.size(), 2u);
  EXPECT_NE(status_of(none, "cuda").find("not part of this build"), std::string::npos);

  const Discovery good = discover(with_modules("good"));
  ASSERT_EQ(good.devices.size(), 2u);  // the second device of the module is gone when asked
  EXPECT_EQ(good.devices[1].id, "cuda:0");
  EXPECT_EQ(status_of(good, "cuda"), "2 devices");

  EXPECT_EQ(status_of(discover(with_modules("idle")), "cuda"), "unavailable: no driver");
  EXPECT_NE(status_of(discover(with_modules("stale")), "cuda").find("another lm"),
            std::string::npos);
}

TEST(Discover, ListsACardOnceAndNoSoftware) {
  DiscoverOptions options = with_modules("both");
  options.gpu_shown = true;
  const Discovery found = discover(options);
  std::vector<std::string> ids(found.devices.size());
  std::ranges::transform(found.devices, ids.begin(), &DeviceInfo::id);
  EXPECT_EQ(ids, (std::vector<std::string>{"cpu", "cuda:0", "vulkan:1"}))
      << "vulkan:0 is the card of cuda:0, vulkan:2 is software";
  EXPECT_EQ(status_of(found, "vulkan"), "3 devices");
}

/// Where the system shows no GPU, a Vulkan driver can only compute in software.
TEST(Discover, LeavesTheVulkanDriverAsleepWithoutAGpu) {
  DiscoverOptions options = with_modules("both");
  options.gpu_shown = false;
  const Discovery found = discover(options);
  EXPECT_EQ(found.devices.size(), 2u);
  EXPECT_NE(status_of(found, "vulkan").find("no GPU"), std::string::npos);
  EXPECT_TRUE(open_backend("vulkan:1", options).error().problem.find("fell") != std::string::npos)
      << "by name it is opened";
}

}  // namespace LM_FILE
}  // namespace lm
