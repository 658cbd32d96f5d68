/// Tensors of a model, bound to devices.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backends/backend.h"
#include "runtime/gguf/gguf_file.h"
#include "runtime/plan/placement.h"

namespace lm {

/// Owner of all weight memory. On a CPU the buffers are views of the mapped file.
class Weights {
 public:
  /// Buffer table of a device: entry 0 is reserved for the arena (null here).
  const std::vector<std::unique_ptr<Buffer>>& buffers(std::uint16_t device) const {
    return devices_[device].buffers;
  }
  /// The tensor on `device`, or an empty ref when it is not there.
  TensorRef find(std::string_view name, std::uint16_t device) const;
  std::uint64_t bytes(std::uint16_t device) const { return devices_[device].bytes; }

  /// The shapes alone, every tensor on every one of `n_device` devices, without memory: for plans
  /// that are measured and never run.
  static std::unique_ptr<Weights> outline(const GgufFile& file, std::uint16_t n_device);

 private:
  friend class WeightsBuilder;
  struct OnDevice {
    std::vector<std::unique_ptr<Buffer>> buffers;
    std::unordered_map<std::string, TensorRef> refs;
    std::uint64_t bytes = 0;
  };
  std::vector<OnDevice> devices_;
};

/// Binds tensors to devices: views of the mapping where the device reads host memory, else one slab
/// with uploads.
class WeightsBuilder {
 public:
  WeightsBuilder(const GgufFile& file, const std::vector<std::shared_ptr<Backend>>& devices);
  /// Wants `tensor` on `device`; twice is once.
  void add(const GgufTensor& tensor, std::uint16_t device);
  /// Errors: out_of_memory, truncated, io.
  Result<std::unique_ptr<Weights>> build();

 private:
  Result<void> bind_mapped(std::uint16_t device, Weights::OnDevice& to);
  Result<void> bind_uploaded(std::uint16_t device, Weights::OnDevice& to);

  const GgufFile& file_;
  const std::vector<std::shared_ptr<Backend>>& devices_;
  std::vector<std::vector<const GgufTensor*>> wanted_;  ///< [device]
};

}  // namespace lm
