/// Fixed-size state of sequences: recurrent and convolution layers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/backend.h"

namespace lm {

/// Pool of reference-counted slots of `slot_bytes` on one device, zeroed when given out. Not
/// thread-safe.
class StatePool {
 public:
  /// Allocates all `n_slot` slots at once: their number is small and their addresses must stay put.
  static Result<std::unique_ptr<StatePool>> create(Backend& device, std::uint64_t slot_bytes,
                                                   std::uint32_t n_slot);

  Result<std::uint32_t> alloc();  ///< Errors: out_of_memory
  void retain(std::uint32_t slot) { ++references_[slot]; }
  void release(std::uint32_t slot);
  bool shared(std::uint32_t slot) const { return references_[slot] > 1; }
  Result<std::uint32_t> duplicate(std::uint32_t slot);

  std::uint64_t address() const { return memory_->address(); }
  std::uint64_t slot_bytes() const { return slot_bytes_; }
  std::uint32_t used() const {
    return static_cast<std::uint32_t>(references_.size() - free_.size());
  }
  Buffer& memory() { return *memory_; }

 private:
  StatePool(Backend& device, std::uint64_t slot_bytes) : device_(device), slot_bytes_(slot_bytes) {}
  Result<std::uint32_t> take();

  Backend& device_;
  std::uint64_t slot_bytes_;
  std::unique_ptr<Buffer> memory_;
  std::vector<std::uint32_t> references_;
  std::vector<std::uint32_t> free_;
};

}  // namespace lm
