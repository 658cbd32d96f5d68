/// A logical device: its queue, memory in slabs, and waiting for what was submitted.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "backends/error.h"
#include "backends/vulkan/instance.h"

namespace lm::vulkan {

struct Options {
  bool force_staging = false;  ///< transfers by copies although the host sees the memory (tests)
  std::filesystem::path cache_dir;  ///< compiled pipelines are kept here; empty: nowhere
};

/// Where memory lies.
enum class MemoryKind : std::uint8_t {
  device,   ///< the device's own; seen by the host where memory is unified
  staging,  ///< the host's, for transfers
  shared,   ///< written by the host each step, read by the device
};

/// One vkAllocateMemory with one buffer over it, from which ranges are given out.
struct Slab {
  VkDeviceMemory memory = VK_NULL_HANDLE;
  VkBuffer buffer = VK_NULL_HANDLE;
  std::byte* mapped = nullptr;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint32_t type = 0;
  bool dedicated = false;
  std::map<std::uint64_t, std::uint64_t> free;  ///< offset -> bytes
};

/// A part of a slab.
struct Range {
  Slab* slab = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;

  std::uint64_t address() const { return slab->address + offset; }
  std::byte* host() const { return slab->mapped != nullptr ? slab->mapped + offset : nullptr; }
};

class Device {
 public:
  static Result<std::unique_ptr<Device>> open(std::size_t index, const Options& options);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  std::size_t index() const { return index_; }
  const PhysicalDevice& physical() const { return physical_; }
  const Options& options() const { return options_; }
  VkDevice handle() const { return handle_; }
  std::uint64_t allocated_bytes() const { return allocated_bytes_; }

  /// Memory that is not zeroed. Errors: out_of_memory, device_lost.
  Result<Range> alloc(std::uint64_t bytes, MemoryKind kind);
  void free(const Range& range);

  Result<VkCommandBuffer> new_commands();
  void free_commands(VkCommandBuffer commands);
  /// Runs command buffers in order and waits.
  VkResult run(std::span<const VkCommandBuffer> commands);

  /// Copies through the staging buffer, or directly where the host sees `range`.
  Result<void> upload(const Range& to, std::uint64_t offset, std::span<const std::byte> bytes);
  Result<void> download(const Range& from, std::uint64_t offset, std::span<std::byte> bytes);
  Result<void> copy(const Range& from, std::uint64_t from_offset, const Range& to,
                    std::uint64_t to_offset, std::uint64_t bytes);
  Result<void> zero(const Range& range);

  /// Makes the error value of a failed call, and remembers a lost device.
  std::unexpected<Error> failed(VkResult result, const char* call) const;
  bool lost() const { return lost_; }

  /// Entry points of this device. Tests replace some to see errors.
  DeviceApi api;

 private:
  Device(std::size_t index, const Options& options)
      : index_(index), physical_(Instance::get().devices()[index]), options_(options) {}
  Result<void> create();
  void choose_memory();
  Result<Slab*> new_slab(std::uint64_t bytes, std::uint32_t type, bool dedicated);
  void free_slab(Slab* slab);
  Result<void> use_staging();
  template <class Record>
  Result<void> run_once(const Record& record, const char* what);

  std::size_t index_;
  const PhysicalDevice& physical_;
  Options options_;
  VkDevice handle_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkCommandBuffer once_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  std::uint32_t type_of_[3] = {};  ///< [MemoryKind]
  std::vector<std::unique_ptr<Slab>> slabs_;
  Range staging_;
  std::uint64_t allocated_bytes_ = 0;
  mutable bool lost_ = false;
};

}  // namespace lm::vulkan
