/// What changes per step, on the device: a header with addresses, and the arrays behind it.
#pragma once

#include <vector>

#include "backends/ops.h"
#include "backends/vulkan/device.h"

namespace lm::vulkan {

/// The arrays that a segment reads, and how wide they are.
struct StepNeeds {
  std::uint32_t arrays = 0;              ///< bits of step_array
  std::uint32_t n_embd = 0;              ///< width of input_embd
  std::vector<std::uint32_t> kv_groups;  ///< whose pages are read
  void add(const Op& op);
};

/// As `Step` in shaders/prelude.glsl.
struct StepHeader {
  std::uint32_t n_row, n_seq, n_out, n_group;
  std::uint64_t token, input_embd, pos, row_seq, row_kv, seq_row, kv_len, state_slot, page_begin,
      page_table, out_row, slab, slab_begin, slab_pages, state, grids;
};

/// One a backend, for all segments: only one runs at a time. The header's address never changes,
/// so that recorded commands can hold it; arrays may move when they outgrow their memory, which
/// doubles then.
class StepBuffer {
 public:
  static Result<std::unique_ptr<StepBuffer>> create(Device& device);
  ~StepBuffer();
  StepBuffer(const StepBuffer&) = delete;
  StepBuffer& operator=(const StepBuffer&) = delete;

  std::uint64_t address() const { return header_.address(); }
  Result<void> write(const StepInput& step, const StepNeeds& needs);

 private:
  explicit StepBuffer(Device& device) : device_(device) {}
  Result<void> reserve(std::uint64_t bytes);
  Result<void> put(const Range& to, std::span<const std::byte> bytes);

  Device& device_;
  Range header_, arrays_, grids_;
  // Kept from step to step, so that a step allocates nothing.
  std::vector<std::byte> packed_;
  std::vector<std::int32_t> first_pos_;
};

}  // namespace lm::vulkan
