#include "backends/vulkan/instance.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include <dlfcn.h>
#include <fmt/format.h>

namespace lm::vulkan {
namespace {

constexpr std::uint32_t kVersion = VK_API_VERSION_1_2;

std::string hex(const std::uint8_t* bytes, std::size_t n) {
  std::string text;
  for (std::size_t i = 0; i < n; ++i) {
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

struct Features {
  VkPhysicalDeviceVulkan12Features v12{};
  VkPhysicalDeviceVulkan11Features v11{};
  VkPhysicalDeviceFeatures2 all{};

  explicit Features(const InstanceApi& api, VkPhysicalDevice device) {
    v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
    v11.pNext = &v12;
    all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    all.pNext = &v11;
    api.vkGetPhysicalDeviceFeatures2(device, &all);
  }

  /// The first thing that is missing, or null.
  const char* missing() const {
    if (v12.bufferDeviceAddress == VK_FALSE) {
      return "addresses of buffers";
    }
    if (all.features.shaderInt64 == VK_FALSE) {
      return "64-bit integers";
    }
    if (v11.storageBuffer16BitAccess == VK_FALSE) {
      return "16-bit storage";
    }
    if (v12.storageBuffer8BitAccess == VK_FALSE) {
      return "8-bit storage";
    }
    return nullptr;
  }
};

}  // namespace

const Instance& Instance::get() {
  static const auto* const instance = new Instance;
  return *instance;
}

Instance::Instance() {
  status_ = open();
  if (!status_.empty()) {
    status_ = "unavailable: " + status_;
    return;
  }
  if (devices_.empty()) {
    status_ =
        refused_.empty() ? "unavailable: the driver shows no device" : "unavailable: " + refused_;
    return;
  }
  std::string names;
  for (const PhysicalDevice& device : devices_) {
    names += fmt::format("{}{}{}", names.empty() ? "" : ", ", device.name,
                         device.software ? ": in software, only for --backend vulkan" : "");
  }
  status_ =
      fmt::format("{} device{} ({})", devices_.size(), devices_.size() == 1 ? "" : "s", names);
}

std::string Instance::open() {
  void* const library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return "no Vulkan loader (libvulkan.so.1)";
  }
  const auto lookup =
      reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
  const auto create =
      lookup != nullptr
          ? reinterpret_cast<PFN_vkCreateInstance>(lookup(VK_NULL_HANDLE, "vkCreateInstance"))
          : nullptr;
  if (create == nullptr) {
    return "libvulkan.so.1 is no Vulkan loader";
  }
  VkApplicationInfo application{};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "lm";
  application.apiVersion = kVersion;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  const VkResult created = create(&info, nullptr, &instance_);
  if (created == VK_ERROR_INCOMPATIBLE_DRIVER) {
    return "no Vulkan driver";
  }
  if (created != VK_SUCCESS) {
    return fmt::format("no instance ({})", result_name(created));
  }
#define LM_VK_LOAD(name)                                              \
  api_.name = reinterpret_cast<PFN_##name>(lookup(instance_, #name)); \
  if (api_.name == nullptr) {                                         \
    return "the Vulkan loader is too old: it lacks " #name;           \
  }
  LM_VK_INSTANCE_FUNCTIONS(LM_VK_LOAD)
#undef LM_VK_LOAD
  std::uint32_t n = 0;
  if (const VkResult counted = api_.vkEnumeratePhysicalDevices(instance_, &n, nullptr);
      counted != VK_SUCCESS) {
    return fmt::format("no devices ({})", result_name(counted));
  }
  std::vector<VkPhysicalDevice> handles(n);
  api_.vkEnumeratePhysicalDevices(instance_, &n, handles.data());
  handles.resize(n);
  for (const VkPhysicalDevice handle : handles) {
    look_at(handle);
  }
  // Cards before integrated devices before software, whatever the loader's order.
  std::stable_sort(
      devices_.begin(), devices_.end(), [](const PhysicalDevice& a, const PhysicalDevice& b) {
        return (a.software ? 2 : a.unified ? 1 : 0) < (b.software ? 2 : b.unified ? 1 : 0);
      });
  return {};
}

void Instance::look_at(VkPhysicalDevice handle) {
  PhysicalDevice device;
  device.handle = handle;
  std::uint32_t n = 0;
  api_.vkEnumerateDeviceExtensionProperties(handle, nullptr, &n, nullptr);
  std::vector<VkExtensionProperties> extensions(n);
  api_.vkEnumerateDeviceExtensionProperties(handle, nullptr, &n, extensions.data());
  const auto has = [&](std::string_view name) {
    return std::any_of(extensions.begin(), extensions.end(), [&](const VkExtensionProperties& e) {
      return name == std::string_view(e.extensionName);
    });
  };
  VkPhysicalDevicePCIBusInfoPropertiesEXT pci{};
  pci.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT;
  VkPhysicalDeviceVulkan12Properties v12{};
  v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES;
  VkPhysicalDeviceVulkan11Properties v11{};
  v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES;
  v11.pNext = &v12;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &v11;
  const bool has_pci = has(VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
  if (has_pci) {
    v12.pNext = &pci;
  }
  api_.vkGetPhysicalDeviceProperties2(handle, &properties);
  const VkPhysicalDeviceProperties& p = properties.properties;
  device.name = p.deviceName;
  if (p.apiVersion < kVersion) {
    refused_ = fmt::format("{} has Vulkan {}.{}, lm needs 1.2", device.name,
                           VK_API_VERSION_MAJOR(p.apiVersion), VK_API_VERSION_MINOR(p.apiVersion));
    return;
  }
  if (const char* missing = Features(api_, handle).missing()) {
    refused_ = fmt::format("{} has no {}", device.name, missing);
    return;
  }
  const VkSubgroupFeatureFlags subgroups =
      VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
  if ((v11.subgroupSupportedOperations & subgroups) != subgroups ||
      (v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0) {
    refused_ = fmt::format("{} has no sums over subgroups", device.name);
    return;
  }
  if (p.limits.maxComputeWorkGroupInvocations < 256) {
    refused_ = fmt::format("{} has workgroups of {}, lm needs 256", device.name,
                           p.limits.maxComputeWorkGroupInvocations);
    return;
  }
  std::uint32_t n_family = 0;
  api_.vkGetPhysicalDeviceQueueFamilyProperties(handle, &n_family, nullptr);
  std::vector<VkQueueFamilyProperties> families(n_family);
  api_.vkGetPhysicalDeviceQueueFamilyProperties(handle, &n_family, families.data());
  const auto compute = std::find_if(families.begin(), families.end(), [](const auto& family) {
    return (family.queueFlags & VK_QUEUE_COMPUTE_BIT) != 0;
  });
  if (compute == families.end()) {
    refused_ = fmt::format("{} does not compute", device.name);
    return;
  }
  device.queue_family = static_cast<std::uint32_t>(compute - families.begin());
  device.timestamp_bits = compute->timestampValidBits;
  device.driver = fmt::format("{} {}", v12.driverName, v12.driverInfo);
  device.uuid = hex(v11.deviceUUID, VK_UUID_SIZE);
  if (has_pci) {
    device.pci = fmt::format("{:04x}:{:02x}:{:02x}.{:x}", pci.pciDomain, pci.pciBus, pci.pciDevice,
                             pci.pciFunction);
  }
  device.software = p.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  device.unified = device.software || p.deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
  device.has_budget = has(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  device.limits = p.limits;
  device.max_allocation_bytes = v11.maxMemoryAllocationSize;
  device.driver_version = p.driverVersion;
  std::memcpy(device.cache_uuid, p.pipelineCacheUUID, VK_UUID_SIZE);
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  api_.vkGetPhysicalDeviceMemoryProperties2(handle, &memory);
  device.memory = memory.memoryProperties;
  devices_.push_back(std::move(device));
}

DeviceInfo Instance::info(std::size_t index) const {
  const PhysicalDevice& device = devices_[index];
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{};
  budget.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT;
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  memory.pNext = device.has_budget ? &budget : nullptr;
  api_.vkGetPhysicalDeviceMemoryProperties2(device.handle, &memory);
  DeviceInfo info;
  info.id = fmt::format("vulkan:{}", index);
  info.name = device.name;
  info.kind = DeviceKind::vulkan;
  info.detail = device.driver;
  info.uuid = device.uuid;
  info.pci = device.pci;
  info.unified = device.unified;
  info.software = device.software;
  info.max_buffer_bytes = device.max_allocation_bytes;
  info.memory_source = device.has_budget ? "VK_EXT_memory_budget" : "Vulkan heap";
  // The largest heap of the device's own memory; a window of a card that the host sees is part of
  // it or beside it, and not counted again.
  const VkPhysicalDeviceMemoryProperties& m = memory.memoryProperties;
  for (std::uint32_t h = 0; h < m.memoryHeapCount; ++h) {
    const bool local = (m.memoryHeaps[h].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0;
    if (!local || m.memoryHeaps[h].size <= info.total_bytes) {
      continue;
    }
    info.total_bytes = m.memoryHeaps[h].size;
    info.free_bytes = info.total_bytes;
    if (device.has_budget) {
      const std::uint64_t unused = budget.heapBudget[h] > budget.heapUsage[h]
                                       ? budget.heapBudget[h] - budget.heapUsage[h]
                                       : 0;
      info.free_bytes =
          std::min(unused, info.total_bytes);  // some drivers promise more than is there
    }
  }
  return info;
}

}  // namespace lm::vulkan
