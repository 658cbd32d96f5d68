#include "backends/vulkan/pipelines.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

namespace lm::vulkan {
namespace {

constexpr std::size_t kCompilers = 4;

}  // namespace

Result<std::unique_ptr<Pipelines>> Pipelines::create(Device& device) {
  std::unique_ptr<Pipelines> pipelines(new Pipelines(device));
  LM_CHECK(pipelines->open());
  return pipelines;
}

std::filesystem::path Pipelines::cache_file() const {
  const PhysicalDevice& physical = device_.physical();
  std::string name;
  for (const std::uint8_t byte : physical.cache_uuid) {
    name += fmt::format("{:02x}", byte);
  }
  return device_.options().cache_dir /
         fmt::format("pipelines-{}-{:x}.bin", name, physical.driver_version);
}

Result<void> Pipelines::open() {
  VkPushConstantRange range{};
  range.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  range.size = sizeof(PushConstants);
  VkPipelineLayoutCreateInfo layout{};
  layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  layout.pushConstantRangeCount = 1;
  layout.pPushConstantRanges = &range;
  const DeviceApi& api = device_.api;
  if (const VkResult r = api.vkCreatePipelineLayout(device_.handle(), &layout, nullptr, &layout_);
      r != VK_SUCCESS) {
    return device_.failed(r, "vkCreatePipelineLayout");
  }
  std::vector<char> kept;
  if (!device_.options().cache_dir.empty()) {
    std::ifstream file(cache_file(), std::ios::binary);
    kept.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  // The driver itself checks the header of what it wrote earlier, and starts anew on a mismatch.
  VkPipelineCacheCreateInfo cache{};
  cache.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  cache.initialDataSize = kept.size();
  cache.pInitialData = kept.data();
  VkResult r = api.vkCreatePipelineCache(device_.handle(), &cache, nullptr, &cache_);
  if (r != VK_SUCCESS && !kept.empty()) {
    cache.initialDataSize = 0;
    r = api.vkCreatePipelineCache(device_.handle(), &cache, nullptr, &cache_);
  }
  if (r != VK_SUCCESS) {
    return device_.failed(r, "vkCreatePipelineCache");
  }
  return {};
}

Pipelines::~Pipelines() {
  const DeviceApi& api = device_.api;
  if (grew_ && !device_.options().cache_dir.empty() && !device_.lost()) {
    std::size_t bytes = 0;
    std::vector<char> data;
    if (api.vkGetPipelineCacheData(device_.handle(), cache_, &bytes, nullptr) == VK_SUCCESS) {
      data.resize(bytes);
    }
    if (bytes > 0 &&
        api.vkGetPipelineCacheData(device_.handle(), cache_, &bytes, data.data()) == VK_SUCCESS) {
      // A name of our own first: another lm may write the same file now.
      std::error_code ignored;
      std::filesystem::create_directories(device_.options().cache_dir, ignored);
      const std::filesystem::path final_name = cache_file();
      std::filesystem::path part = final_name;
      part += fmt::format(".{}", getpid());
      std::ofstream file(part, std::ios::binary);
      file.write(data.data(), static_cast<std::streamsize>(bytes));
      file.close();
      if (file) {
        std::filesystem::rename(part, final_name, ignored);
      } else {
        std::filesystem::remove(part, ignored);
      }
    }
  }
  for (const auto& [key, pipeline] : pipelines_) {
    api.vkDestroyPipeline(device_.handle(), pipeline, nullptr);
  }
  if (cache_ != VK_NULL_HANDLE) {
    api.vkDestroyPipelineCache(device_.handle(), cache_, nullptr);
  }
  if (layout_ != VK_NULL_HANDLE) {
    api.vkDestroyPipelineLayout(device_.handle(), layout_, nullptr);
  }
}

VkResult Pipelines::compile(const PipelineKey& key, VkPipeline& out) {
  const std::span<const std::uint32_t> words = find_shader(key.shader);
  LM_ASSERT(!words.empty(), "a shader that is not in the table");
  const DeviceApi& api = device_.api;
  VkShaderModuleCreateInfo module{};
  module.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  module.codeSize = words.size_bytes();
  module.pCode = words.data();
  VkShaderModule shader = VK_NULL_HANDLE;
  if (const VkResult r = api.vkCreateShaderModule(device_.handle(), &module, nullptr, &shader);
      r != VK_SUCCESS) {
    return r;
  }
  std::vector<VkSpecializationMapEntry> entries;
  for (std::uint32_t i = 0; i < key.constants.size(); ++i) {
    entries.push_back({i, i * 4, 4});
  }
  VkSpecializationInfo constants{};
  constants.mapEntryCount = static_cast<std::uint32_t>(entries.size());
  constants.pMapEntries = entries.data();
  constants.dataSize = key.constants.size() * 4;
  constants.pData = key.constants.data();
  VkComputePipelineCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = shader;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &constants;
  info.layout = layout_;
  const VkResult r =
      api.vkCreateComputePipelines(device_.handle(), cache_, 1, &info, nullptr, &out);
  api.vkDestroyShaderModule(device_.handle(), shader, nullptr);
  return r;
}

Result<void> Pipelines::prepare(std::span<const PipelineKey> keys) {
  std::vector<std::pair<PipelineKey, VkPipeline>> missing;
  for (const PipelineKey& key : keys) {
    const bool known =
        pipelines_.contains(key) ||
        std::any_of(missing.begin(), missing.end(), [&](const auto& m) { return m.first == key; });
    if (!known) {
      missing.emplace_back(key, VK_NULL_HANDLE);
    }
  }
  if (missing.empty()) {
    return {};
  }
  std::atomic<std::size_t> next{0};
  std::atomic<int> problem{VK_SUCCESS};
  const auto work = [&] {
    for (std::size_t i = next++; i < missing.size(); i = next++) {
      if (const VkResult r = compile(missing[i].first, missing[i].second); r != VK_SUCCESS) {
        problem = r;
      }
    }
  };
  {
    std::vector<std::jthread> others;
    const std::size_t n = std::min<std::size_t>(
        {missing.size(), kCompilers, std::max(std::thread::hardware_concurrency(), 1u)});
    for (std::size_t i = 1; i < n; ++i) {
      others.emplace_back(work);
    }
    work();
  }
  for (auto& [key, pipeline] : missing) {
    if (pipeline != VK_NULL_HANDLE) {
      pipelines_.emplace(key, pipeline);
      grew_ = true;
    }
  }
  if (problem != VK_SUCCESS) {
    return device_.failed(static_cast<VkResult>(problem.load()), "vkCreateComputePipelines");
  }
  return {};
}

}  // namespace lm::vulkan
