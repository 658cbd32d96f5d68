// What a driver may refuse or lose, by entry points that fail; transfers by copies; the cache of
// pipelines.
#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backends/vulkan/vulkan_backend.h"

namespace lm::vulkan {
namespace LM_FILE {

const StopFlag kRun{false};

/// Device 0 of this machine; in tests the one in software.
std::unique_ptr<Backend> open_first(const Options& options = {},
                                    void (*adjust)(DeviceApi&) = nullptr) {
  auto backend = make_backend(0, options, adjust);
  EXPECT_TRUE(backend.has_value())
      << (backend ? "" : backend.error().problem) << "; " << Instance::get().status();
  return backend ? std::move(*backend) : nullptr;
}

/// x = 3 x over eight values.
struct Tripling {
  std::unique_ptr<Buffer> arena;
  Segment segment;
  std::unique_ptr<Executable> code;

  explicit Tripling(Backend& backend) {
    arena = std::move(*backend.alloc(64));
    ops::Scale op;
    op.x = op.out = {DType::f32, kArena, 0, 2, 4};
    op.factor = 3.0f;
    segment.ops.push_back(op);
    Buffer* const buffers[] = {arena.get()};
    CompileRequest request;
    request.segment = &segment;
    request.buffers = buffers;
    request.max_rows = 2;
    auto compiled = backend.compile(request);
    EXPECT_TRUE(compiled.has_value()) << (compiled ? "" : compiled.error().problem);
    code = compiled ? std::move(*compiled) : nullptr;
  }

  RunStatus run(const StopFlag& stop = kRun) const {
    StepInput step;
    step.n_row = 2;
    return code->run(step, stop);
  }
};

std::vector<float> read(Backend& backend, Buffer& buffer) {
  std::vector<float> values(8);
  EXPECT_TRUE(backend.download(buffer, 0, std::as_writable_bytes(std::span(values))));
  return values;
}

TEST(VulkanTransfers, MemoryIsZeroedCopiedAndChecked) {
  for (const bool staging : {false, true}) {
    SCOPED_TRACE(staging);
    const auto backend = open_first({.force_staging = staging, .cache_dir = {}});
    ASSERT_NE(backend, nullptr);
    // More than the staging buffer holds at once.
    const std::uint64_t bytes = (40u << 20) + 12;
    auto big = backend->alloc(bytes);
    ASSERT_TRUE(big);
    EXPECT_EQ((*big)->host() == nullptr, staging);
    EXPECT_EQ((*big)->size(), bytes);
    std::vector<std::byte> got(bytes, std::byte{1});
    ASSERT_TRUE(backend->download(**big, 0, got));
    EXPECT_EQ(got, std::vector<std::byte>(bytes));
    std::vector<std::byte> data(bytes - 100);
    for (std::size_t i = 0; i < data.size(); ++i) {
      data[i] = static_cast<std::byte>(i * 7 + i / 251);
    }
    ASSERT_TRUE(backend->upload(**big, 100, data));
    auto imported = backend->import(data);
    ASSERT_TRUE(imported);
    ASSERT_TRUE(backend->copy(**big, 100, **imported, 1000, 5000));
    std::vector<std::byte> back(data.size());
    ASSERT_TRUE(backend->download(**imported, 0, back));
    std::copy_n(data.begin(), 5000, data.begin() + 1000);
    EXPECT_EQ(back, data);
    const auto beyond = backend->upload(**big, bytes - 3, std::span(data).first(4));
    ASSERT_FALSE(beyond);
    EXPECT_EQ(beyond.error().code, ErrorCode::invalid_argument);
  }
}

TEST(VulkanTransfers, SmallBuffersShareMemoryAndGiveItBack) {
  const auto backend = open_first();
  ASSERT_NE(backend, nullptr);
  std::vector<std::unique_ptr<Buffer>> buffers;
  const auto take = [&](std::uint64_t bytes) {
    buffers.push_back(std::move(*backend->alloc(bytes)));
  };
  take(1000);
  const std::uint64_t free_before = backend->info().free_bytes;
  for (int i = 0; i < 2000; ++i) {
    take(1000 + static_cast<std::uint64_t>(i % 7) * 300);
    EXPECT_EQ(buffers.back()->address() % 256, 0u);
  }
  EXPECT_EQ(backend->info().free_bytes, free_before) << "one slab holds them";
  for (std::size_t i = 0; i < buffers.size(); i += 2) {
    buffers[i] = std::move(buffers.back());
    buffers.pop_back();
  }
  buffers.clear();
  take(30u << 20);  // has memory of its own
  EXPECT_EQ(backend->info().free_bytes, free_before - (30u << 20));
  buffers.clear();
  EXPECT_EQ(backend->info().free_bytes, free_before);
}

TEST(VulkanRun, RunsRecordedStepsAgain) {
  for (const bool staging : {false, true}) {
    const auto backend = open_first({.force_staging = staging, .cache_dir = {}});
    ASSERT_NE(backend, nullptr);
    Tripling tripling(*backend);
    const std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, 8};
    ASSERT_TRUE(backend->upload(*tripling.arena, 0, std::as_bytes(std::span(values))));
    EXPECT_EQ(tripling.run(), RunStatus::done);
    EXPECT_EQ(tripling.run(), RunStatus::done);
    EXPECT_EQ(read(*backend, *tripling.arena)[7], 72.0f);
    EXPECT_EQ(tripling.run(StopFlag{true}), RunStatus::cancelled);
    EXPECT_EQ(read(*backend, *tripling.arena)[7], 72.0f) << "nothing ran";
  }
}

TEST(VulkanFaults, MemoryThatIsNotThereIsAnErrorWithItsBytes) {
  const auto backend = open_first();
  ASSERT_NE(backend, nullptr);
  const auto huge = backend->alloc(std::uint64_t{1} << 50);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, ErrorCode::out_of_memory);
  EXPECT_NE(huge.error().problem.find(fmt::format("{} bytes wanted", std::uint64_t{1} << 50)),
            std::string::npos)
      << huge.error().problem;
  EXPECT_FALSE(huge.error().hint.empty());
  EXPECT_TRUE(backend->alloc(1000)) << "a refusal costs nothing later";
}

TEST(VulkanFaults, ARefusalOfTheDriverIsAnErrorToo) {
  const auto refuse = [](DeviceApi& api) {
    api.vkAllocateMemory = [](VkDevice, const VkMemoryAllocateInfo*, const VkAllocationCallbacks*,
                              VkDeviceMemory*) { return VK_ERROR_OUT_OF_DEVICE_MEMORY; };
  };
  const auto backend = make_backend(0, {}, refuse);
  ASSERT_FALSE(backend);
  EXPECT_EQ(backend.error().code, ErrorCode::out_of_memory);
}

TEST(VulkanFaults, ShadersThatDoNotCompileAreAnError) {
  const auto refuse = [](DeviceApi& api) {
    api.vkCreateComputePipelines =
        [](VkDevice, VkPipelineCache, std::uint32_t, const VkComputePipelineCreateInfo*,
           const VkAllocationCallbacks*, VkPipeline*) { return VK_ERROR_INITIALIZATION_FAILED; };
  };
  const auto backend = open_first({}, refuse);
  ASSERT_NE(backend, nullptr);
  auto arena = std::move(*backend->alloc(64));
  Segment segment;
  ops::Scale op;
  op.x = op.out = {DType::f32, kArena, 0, 1, 4};
  segment.ops.push_back(op);
  Buffer* const buffers[] = {arena.get()};
  CompileRequest request;
  request.segment = &segment;
  request.buffers = buffers;
  request.max_rows = 1;
  const auto code = backend->compile(request);
  ASSERT_FALSE(code);
  EXPECT_NE(code.error().problem.find("VK_ERROR_INITIALIZATION_FAILED"), std::string::npos);
}

int submits_left = 0;
PFN_vkQueueSubmit real_submit = nullptr;

TEST(VulkanFaults, ALostDeviceEndsItsRunsAndTheNextOneWorks) {
  const auto break_later = [](DeviceApi& api) {
    real_submit = api.vkQueueSubmit;
    api.vkQueueSubmit = [](VkQueue queue, std::uint32_t n, const VkSubmitInfo* submits,
                           VkFence fence) {
      return submits_left-- > 0 ? real_submit(queue, n, submits, fence) : VK_ERROR_DEVICE_LOST;
    };
  };
  submits_left = 1000;
  {
    const auto backend = open_first({.force_staging = true, .cache_dir = {}}, break_later);
    ASSERT_NE(backend, nullptr);
    Tripling tripling(*backend);
    EXPECT_EQ(tripling.run(), RunStatus::done);
    submits_left = 1;  // the step's upload passes
    EXPECT_EQ(tripling.run(), RunStatus::lost);
    submits_left = 1000;
    EXPECT_EQ(tripling.run(), RunStatus::lost) << "what is lost stays lost";
    submits_left = 0;
    std::vector<std::byte> bytes(4);
    const auto read_back = backend->download(*tripling.arena, 0, bytes);
    ASSERT_FALSE(read_back);
    EXPECT_EQ(read_back.error().code, ErrorCode::device_lost);
  }
  const auto next = open_first();
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(Tripling(*next).run(), RunStatus::done);
}

TEST(VulkanPipelines, AreKeptInTheFolderAndBadFilesAreLeftAlone) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("lm-vulkan-cache-{}", getpid());
  const Options options{.force_staging = false, .cache_dir = folder};
  for (int round = 0; round < 3; ++round) {
    const auto backend = open_first(options);
    ASSERT_NE(backend, nullptr);
    EXPECT_EQ(Tripling(*backend).run(), RunStatus::done) << "round " << round;
    if (round == 1) {  // what the next one finds is no cache
      for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        std::ofstream(entry.path()) << "not a cache";
      }
    }
  }
  std::size_t n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_EQ(entry.path().extension(), ".bin");
    ++n;
  }
  EXPECT_EQ(n, 1u);
  std::filesystem::remove_all(folder);
}

TEST(VulkanRoofs, AreMeasured) {
  const auto backend = open_first();
  ASSERT_NE(backend, nullptr);
  const auto roofs = backend->measure_roofs();
  ASSERT_TRUE(roofs);
  EXPECT_GT(roofs->read_1, 1e6);
}

TEST(VulkanInfo, NamesTheDevice) {
  const auto backend = open_first();
  ASSERT_NE(backend, nullptr);
  const DeviceInfo info = backend->info();
  EXPECT_EQ(info.id, "vulkan:0");
  EXPECT_EQ(info.kind, DeviceKind::vulkan);
  EXPECT_FALSE(info.name.empty());
  EXPECT_EQ(info.uuid.size(), 32u);
  EXPECT_GT(info.total_bytes, 0u);
  EXPECT_LE(info.free_bytes, info.total_bytes);
  EXPECT_GE(info.max_buffer_bytes, std::uint64_t{1} << 30);
  if (info.software) {
    EXPECT_TRUE(info.unified);
    EXPECT_NE(Instance::get().status().find("in software"), std::string::npos);
  }
}

TEST(VulkanShaders, AreThereForEveryWeightType) {
  for (std::uint32_t id = 0; id < 64; ++id) {
    const BlockLayout* type = find_layout(id);
    if (type != nullptr && type->use == TypeUse::weight) {
      const auto backend_op = [&] {
        ops::MatMul op;
        op.x = {DType::f32, kArena, 0, 1, 256};
        op.weight = {type->dtype, 1, 0, 4, 256};
        op.out = {DType::f32, kArena, 4096, 1, 4};
        return op;
      }();
      static const auto backend = open_first();
      ASSERT_NE(backend, nullptr);
      EXPECT_TRUE(backend->supports(backend_op)) << type->name;
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm::vulkan
