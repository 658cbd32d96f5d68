/// Compiled shaders, made when first asked for and kept in a folder between runs.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/vulkan/device.h"

namespace lm::vulkan {

/// Name of a shader (with its weight type: "matvec_q4_k") and its specialisation constants, by
/// number from 0.
struct PipelineKey {
  std::string shader;
  std::vector<std::uint32_t> constants;
  auto operator<=>(const PipelineKey&) const = default;
};

/// The words of a shader of this build; empty when there is none of that name.
std::span<const std::uint32_t> find_shader(std::string_view name);

/// All shaders take the same 16 bytes: addresses of their parameters and of the step.
struct PushConstants {
  std::uint64_t params;
  std::uint64_t step;
};

class Pipelines {
 public:
  /// Reads the folder's file for this device and driver where there is one.
  static Result<std::unique_ptr<Pipelines>> create(Device& device);
  /// Writes the folder's file when something new was compiled; what fails there is not an error.
  ~Pipelines();
  Pipelines(const Pipelines&) = delete;
  Pipelines& operator=(const Pipelines&) = delete;

  VkPipelineLayout layout() const { return layout_; }
  /// Compiles what is not there yet, several at a time. Errors: those of the driver.
  Result<void> prepare(std::span<const PipelineKey> keys);
  /// One that was prepared.
  VkPipeline find(const PipelineKey& key) const { return pipelines_.at(key); }

 private:
  explicit Pipelines(Device& device) : device_(device) {}
  Result<void> open();
  VkResult compile(const PipelineKey& key, VkPipeline& out);
  std::filesystem::path cache_file() const;

  Device& device_;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  VkPipelineCache cache_ = VK_NULL_HANDLE;
  std::map<PipelineKey, VkPipeline> pipelines_;
  bool grew_ = false;
};

}  // namespace lm::vulkan
