#include "backends/vulkan/device.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace lm::vulkan {
namespace {

// What any value or block may start at, and the alignment that copies like best.
constexpr std::uint64_t kAlign = 256;
// Small requests share slabs: drivers allow only some thousand allocations.
constexpr std::uint64_t kSlabBytes = 32u << 20;
constexpr std::uint64_t kDedicatedFrom = 4u << 20;
constexpr std::uint64_t kStagingBytes = 32u << 20;

std::uint64_t align_up(std::uint64_t bytes) {
  return (std::max<std::uint64_t>(bytes, 1) + kAlign - 1) / kAlign * kAlign;
}

}  // namespace

Result<std::unique_ptr<Device>> Device::open(std::size_t index, const Options& options) {
  std::unique_ptr<Device> device(new Device(index, options));
  LM_CHECK(device->create());
  return device;
}

std::unexpected<Error> Device::failed(VkResult result, const char* call) const {
  const std::string subject = fmt::format("vulkan:{}", index_);
  if (result == VK_ERROR_DEVICE_LOST) {
    lost_ = true;
    return fail(ErrorCode::device_lost, subject, fmt::format("was lost ({})", call),
                "try again, or use --backend cpu", static_cast<int>(result));
  }
  const bool memory =
      result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY;
  return fail(memory ? ErrorCode::out_of_memory : ErrorCode::module, subject,
              fmt::format("{} gave {}", call, result_name(result)), "use --backend cpu",
              static_cast<int>(result));
}

Result<void> Device::create() {
  const InstanceApi& instance = Instance::get().api();
  VkPhysicalDeviceVulkan12Features v12{};
  v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  v12.bufferDeviceAddress = VK_TRUE;
  v12.storageBuffer8BitAccess = VK_TRUE;
  VkPhysicalDeviceVulkan11Features v11{};
  v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
  v11.pNext = &v12;
  v11.storageBuffer16BitAccess = VK_TRUE;
  VkPhysicalDeviceFeatures2 features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = &v11;
  features.features.shaderInt64 = VK_TRUE;
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue{};
  queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue.queueFamilyIndex = physical_.queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.pNext = &features;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  if (const VkResult r = instance.vkCreateDevice(physical_.handle, &info, nullptr, &handle_);
      r != VK_SUCCESS) {
    return failed(r, "vkCreateDevice");
  }
#define LM_VK_LOAD(name)                                                                 \
  api.name = reinterpret_cast<PFN_##name>(instance.vkGetDeviceProcAddr(handle_, #name)); \
  if (api.name == nullptr) {                                                             \
    return fail(ErrorCode::module, fmt::format("vulkan:{}", index_), "lacks " #name);    \
  }
  LM_VK_DEVICE_FUNCTIONS(LM_VK_LOAD)
#undef LM_VK_LOAD
  api.vkGetDeviceQueue(handle_, physical_.queue_family, 0, &queue_);
  VkCommandPoolCreateInfo pool{};
  pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = physical_.queue_family;
  if (const VkResult r = api.vkCreateCommandPool(handle_, &pool, nullptr, &pool_);
      r != VK_SUCCESS) {
    return failed(r, "vkCreateCommandPool");
  }
  VkFenceCreateInfo fence{};
  fence.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  if (const VkResult r = api.vkCreateFence(handle_, &fence, nullptr, &fence_); r != VK_SUCCESS) {
    return failed(r, "vkCreateFence");
  }
  LM_TRY(once_, new_commands());
  choose_memory();
  return {};
}

Device::~Device() {
  if (handle_ == VK_NULL_HANDLE) {
    return;
  }
  if (api.vkDeviceWaitIdle != nullptr) {
    api.vkDeviceWaitIdle(handle_);
  }
  while (!slabs_.empty()) {
    free_slab(slabs_.back().get());
  }
  if (fence_ != VK_NULL_HANDLE) {
    api.vkDestroyFence(handle_, fence_, nullptr);
  }
  if (pool_ != VK_NULL_HANDLE) {
    api.vkDestroyCommandPool(handle_, pool_, nullptr);
  }
  if (api.vkDestroyDevice != nullptr) {
    api.vkDestroyDevice(handle_, nullptr);
  }
}

/// The type whose flags have all of `wanted` and most of `liked`; the first of equals.
void Device::choose_memory() {
  const VkPhysicalDeviceMemoryProperties& m = physical_.memory;
  const auto best = [&](VkMemoryPropertyFlags wanted, VkMemoryPropertyFlags liked,
                        VkMemoryPropertyFlags disliked) {
    std::uint32_t found = 0;
    int best_score = -1000;
    for (std::uint32_t t = 0; t < m.memoryTypeCount; ++t) {
      const VkMemoryPropertyFlags flags = m.memoryTypes[t].propertyFlags;
      if ((flags & wanted) != wanted) {
        continue;
      }
      const int score = __builtin_popcount(flags & liked) - __builtin_popcount(flags & disliked);
      if (score > best_score) {
        best_score = score;
        found = t;
      }
    }
    return found;
  };
  constexpr VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  constexpr VkMemoryPropertyFlags seen =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  constexpr VkMemoryPropertyFlags cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  type_of_[static_cast<int>(MemoryKind::device)] =
      physical_.unified ? best(local, seen | cached, 0) : best(local, 0, seen | cached);
  type_of_[static_cast<int>(MemoryKind::staging)] = best(seen, cached, local);
  type_of_[static_cast<int>(MemoryKind::shared)] = best(seen, local, cached);
}

Result<Slab*> Device::new_slab(std::uint64_t bytes, std::uint32_t type, bool dedicated) {
  const auto no_memory = [&](VkResult r) -> std::unexpected<Error> {
    return fail(ErrorCode::out_of_memory, fmt::format("memory of vulkan:{}", index_),
                fmt::format("{} bytes wanted beside {} in use ({})", bytes, allocated_bytes_,
                            result_name(r)),
                "use a smaller context or model, or --backend cpu", static_cast<int>(r));
  };
  if (bytes > physical_.max_allocation_bytes) {
    return no_memory(VK_ERROR_OUT_OF_DEVICE_MEMORY);
  }
  auto slab = std::make_unique<Slab>();
  slab->bytes = bytes;
  slab->type = type;
  slab->dedicated = dedicated;
  VkBufferCreateInfo buffer{};
  buffer.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  buffer.size = bytes;
  buffer.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT |
                 VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  if (const VkResult r = api.vkCreateBuffer(handle_, &buffer, nullptr, &slab->buffer);
      r != VK_SUCCESS) {
    return no_memory(r);
  }
  VkMemoryRequirements needed{};
  api.vkGetBufferMemoryRequirements(handle_, slab->buffer, &needed);
  VkMemoryAllocateFlagsInfo flags{};
  flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  VkMemoryAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocate.pNext = &flags;
  allocate.allocationSize = needed.size;
  allocate.memoryTypeIndex = type;
  VkResult r = api.vkAllocateMemory(handle_, &allocate, nullptr, &slab->memory);
  if (r == VK_SUCCESS) {
    r = api.vkBindBufferMemory(handle_, slab->buffer, slab->memory, 0);
  }
  const VkMemoryPropertyFlags properties = physical_.memory.memoryTypes[type].propertyFlags;
  constexpr VkMemoryPropertyFlags seen =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  if (r == VK_SUCCESS && (properties & seen) == seen) {
    void* mapped = nullptr;
    r = api.vkMapMemory(handle_, slab->memory, 0, VK_WHOLE_SIZE, 0, &mapped);
    slab->mapped = static_cast<std::byte*>(mapped);
  }
  if (r != VK_SUCCESS) {
    if (slab->memory != VK_NULL_HANDLE) {
      api.vkFreeMemory(handle_, slab->memory, nullptr);
    }
    api.vkDestroyBuffer(handle_, slab->buffer, nullptr);
    return no_memory(r);
  }
  VkBufferDeviceAddressInfo address{};
  address.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
  address.buffer = slab->buffer;
  slab->address = api.vkGetBufferDeviceAddress(handle_, &address);
  slab->free.emplace(0, bytes);
  allocated_bytes_ += bytes;
  slabs_.push_back(std::move(slab));
  return slabs_.back().get();
}

void Device::free_slab(Slab* slab) {
  api.vkDestroyBuffer(handle_, slab->buffer, nullptr);
  api.vkFreeMemory(handle_, slab->memory, nullptr);
  allocated_bytes_ -= slab->bytes;
  std::erase_if(slabs_, [slab](const auto& s) { return s.get() == slab; });
}

Result<Range> Device::alloc(std::uint64_t bytes, MemoryKind kind) {
  const std::uint32_t type = type_of_[static_cast<int>(kind)];
  const std::uint64_t wanted = align_up(bytes);
  const auto take = [&](Slab& slab) -> Range {
    for (auto at = slab.free.begin(); at != slab.free.end(); ++at) {
      if (at->second >= wanted) {
        const auto [offset, size] = *at;
        slab.free.erase(at);
        if (size > wanted) {
          slab.free.emplace(offset + wanted, size - wanted);
        }
        return {&slab, offset, wanted};
      }
    }
    return {};
  };
  const bool dedicated = wanted >= kDedicatedFrom;
  for (const auto& slab : slabs_) {
    if (!dedicated && !slab->dedicated && slab->type == type) {
      if (const Range range = take(*slab); range.slab != nullptr) {
        return range;
      }
    }
  }
  LM_TRY(Slab* const slab, new_slab(dedicated ? wanted : kSlabBytes, type, dedicated));
  return take(*slab);
}

void Device::free(const Range& range) {
  if (range.slab == nullptr) {
    return;
  }
  auto& free = range.slab->free;
  auto at = free.emplace(range.offset, range.bytes).first;
  if (const auto next = std::next(at);
      next != free.end() && at->first + at->second == next->first) {
    at->second += next->second;
    free.erase(next);
  }
  if (at != free.begin()) {
    const auto before = std::prev(at);
    if (before->first + before->second == at->first) {
      before->second += at->second;
      free.erase(at);
    }
  }
  // Large memory goes back at once; one empty shared slab a type costs little and saves calls.
  if (range.slab->dedicated && free.begin()->second == range.slab->bytes) {
    free_slab(range.slab);
  }
}

Result<VkCommandBuffer> Device::new_commands() {
  VkCommandBufferAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  info.commandPool = pool_;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  if (const VkResult r = api.vkAllocateCommandBuffers(handle_, &info, &commands); r != VK_SUCCESS) {
    return failed(r, "vkAllocateCommandBuffers");
  }
  return commands;
}

void Device::free_commands(VkCommandBuffer commands) {
  api.vkFreeCommandBuffers(handle_, pool_, 1, &commands);
}

VkResult Device::run(std::span<const VkCommandBuffer> commands) {
  VkSubmitInfo submit{};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.commandBufferCount = static_cast<std::uint32_t>(commands.size());
  submit.pCommandBuffers = commands.data();
  VkResult r = api.vkQueueSubmit(queue_, 1, &submit, fence_);
  if (r == VK_SUCCESS) {
    r = api.vkWaitForFences(handle_, 1, &fence_, VK_TRUE, UINT64_MAX);
  }
  if (r == VK_SUCCESS) {
    r = api.vkResetFences(handle_, 1, &fence_);
  }
  lost_ = lost_ || r == VK_ERROR_DEVICE_LOST;
  return r;
}

template <class Record>
Result<void> Device::run_once(const Record& record, const char* what) {
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  VkResult r = api.vkBeginCommandBuffer(once_, &begin);
  if (r == VK_SUCCESS) {
    record(once_);
    r = api.vkEndCommandBuffer(once_);
  }
  if (r == VK_SUCCESS) {
    r = run(std::span(&once_, 1));
  }
  if (r != VK_SUCCESS) {
    return failed(r, what);
  }
  return {};
}

Result<void> Device::use_staging() {
  if (staging_.slab == nullptr) {
    LM_TRY(staging_, alloc(kStagingBytes, MemoryKind::staging));
  }
  return {};
}

Result<void> Device::upload(const Range& to, std::uint64_t offset,
                            std::span<const std::byte> bytes) {
  if (to.host() != nullptr && !options_.force_staging) {
    std::memcpy(to.host() + offset, bytes.data(), bytes.size());
    return {};
  }
  LM_CHECK(use_staging());
  while (!bytes.empty()) {
    const std::size_t n = std::min<std::size_t>(bytes.size(), kStagingBytes);
    std::memcpy(staging_.host(), bytes.data(), n);
    LM_CHECK(copy(staging_, 0, to, offset, n));
    offset += n;
    bytes = bytes.subspan(n);
  }
  return {};
}

Result<void> Device::download(const Range& from, std::uint64_t offset, std::span<std::byte> bytes) {
  if (from.host() != nullptr && !options_.force_staging) {
    std::memcpy(bytes.data(), from.host() + offset, bytes.size());
    return {};
  }
  LM_CHECK(use_staging());
  while (!bytes.empty()) {
    const std::size_t n = std::min<std::size_t>(bytes.size(), kStagingBytes);
    LM_CHECK(copy(from, offset, staging_, 0, n));
    std::memcpy(bytes.data(), staging_.host(), n);
    offset += n;
    bytes = bytes.subspan(n);
  }
  return {};
}

Result<void> Device::copy(const Range& from, std::uint64_t from_offset, const Range& to,
                          std::uint64_t to_offset, std::uint64_t bytes) {
  if (bytes == 0) {
    return {};
  }
  return run_once(
      [&](VkCommandBuffer commands) {
        VkBufferCopy region{};
        region.srcOffset = from.offset + from_offset;
        region.dstOffset = to.offset + to_offset;
        region.size = bytes;
        api.vkCmdCopyBuffer(commands, from.slab->buffer, to.slab->buffer, 1, &region);
        VkMemoryBarrier done{};
        done.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
        done.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
        done.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
        api.vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                 VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &done, 0, nullptr, 0, nullptr);
      },
      "copy");
}

Result<void> Device::zero(const Range& range) {
  if (range.host() != nullptr && !options_.force_staging) {
    std::memset(range.host(), 0, range.bytes);
    return {};
  }
  return run_once(
      [&](VkCommandBuffer commands) {
        api.vkCmdFillBuffer(commands, range.slab->buffer, range.offset, range.bytes, 0);
      },
      "fill");
}

}  // namespace lm::vulkan
