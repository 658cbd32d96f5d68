/// Fixed-size state of sequences: recurrent and convolution layers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/backend.h"

namespace lm {

/// Pool of reference-counted slots, zeroed when given out. A slot number means the same slot on
/// every device: the layers with a state may be spread over devices. Not thread-safe.
class StatePool {
 public:
  /// Allocates all `n_slot` slots at once: their number is small and their addresses must stay put.
  /// `slot_bytes` [device]; 0: no layer with a state there. The devices outlive the pool.
  static Result<std::unique_ptr<StatePool>> create(std::vector<Backend*> devices,
                                                   std::vector<std::uint64_t> slot_bytes,
                                                   std::uint32_t n_slot);

  Result<std::uint32_t> alloc();  ///< Errors: out_of_memory
  void retain(std::uint32_t slot) { ++references_[slot]; }
  void release(std::uint32_t slot);
  bool shared(std::uint32_t slot) const { return references_[slot] > 1; }
  Result<std::uint32_t> duplicate(std::uint32_t slot);

  /// Where slot 0 lies on a device; 0 where there is no state.
  std::uint64_t address(std::uint16_t device) const {
    return memory_[device] ? memory_[device]->address() : 0;
  }
  std::uint64_t slot_bytes(std::uint16_t device) const { return slot_bytes_[device]; }
  std::uint32_t used() const {
    return static_cast<std::uint32_t>(references_.size() - free_.size());
  }
  Buffer& memory(std::uint16_t device) { return *memory_[device]; }

 private:
  StatePool(std::vector<Backend*> devices, std::vector<std::uint64_t> slot_bytes)
      : devices_(std::move(devices)), slot_bytes_(std::move(slot_bytes)) {}
  Result<std::uint32_t> take();

  std::vector<Backend*> devices_;
  std::vector<std::uint64_t> slot_bytes_;
  std::vector<std::unique_ptr<Buffer>> memory_;  ///< [device], null without a state there
  std::vector<std::uint32_t> references_;
  std::vector<std::uint32_t> free_;
};

}  // namespace lm
