/// The Vulkan instance of the process and the devices that it shows.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/vulkan/api.h"

namespace lm::vulkan {

/// A device that has everything the shaders need.
struct PhysicalDevice {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  std::string name, driver;
  std::string uuid;  ///< 32 hexadecimal digits
  std::string pci;   ///< "0000:01:00.0", or empty
  bool software = false;
  bool unified = false;
  bool has_budget = false;  ///< VK_EXT_memory_budget
  std::uint32_t queue_family = 0;
  std::uint32_t timestamp_bits = 0;
  VkPhysicalDeviceLimits limits{};
  std::uint64_t max_allocation_bytes = 0;
  VkPhysicalDeviceMemoryProperties memory{};
  std::uint8_t cache_uuid[VK_UUID_SIZE] = {};
  std::uint32_t driver_version = 0;
};

/// Made once a process and never destroyed: drivers keep threads of their own.
class Instance {
 public:
  static const Instance& get();

  const InstanceApi& api() const { return api_; }
  const std::vector<PhysicalDevice>& devices() const { return devices_; }
  /// One line: "1 device (llvmpipe: in software, only for --backend vulkan)", "unavailable: ...".
  const std::string& status() const { return status_; }
  /// Name, memory of the moment and the rest of device `index`.
  DeviceInfo info(std::size_t index) const;

 private:
  Instance();
  std::string open();
  void look_at(VkPhysicalDevice handle);

  InstanceApi api_;
  VkInstance instance_ = VK_NULL_HANDLE;
  std::vector<PhysicalDevice> devices_;
  std::string status_, refused_;
};

}  // namespace lm::vulkan
