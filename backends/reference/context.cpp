#include "backends/reference/context.h"

#include "backends/reference/dequant.h"

namespace lm::reference {
namespace {

std::byte* kv_row(const StepInput& step, const KvRef& ref, std::uint32_t seq, std::uint64_t tile,
                  std::uint64_t row, std::uint32_t kv) {
  const std::uint32_t first = step.page_begin[ref.group * step.n_seq + seq];
  const std::uint32_t page = step.page_table[first + kv / kPageTokens];
  LM_ASSERT(page != kNoPage, "a visible KV index has no page");
  return reinterpret_cast<std::byte*>(step.page_address(ref.group, page, ref.page_bytes) + tile +
                                      row * (kv % kPageTokens));
}

}  // namespace

std::byte* Context::bytes(const TensorRef& t, std::uint32_t row) const {
  return buffers[t.buffer]->host() + t.offset + row_bytes(t.dtype, t.cols) * row;
}

float* Context::f32(const TensorRef& t, std::uint32_t row) const {
  return t.empty() ? nullptr : reinterpret_cast<float*>(bytes(t, row));
}

std::vector<float> Context::dequantized(const TensorRef& t, std::uint32_t row) const {
  std::vector<float> values(t.cols);
  dequantize_row(t.dtype, bytes(t, row), t.cols, values.data());
  return values;
}

float* Context::state(const StateRef& ref, std::uint32_t seq) const {
  const std::uint32_t slot = step.state_slot[seq];
  LM_ASSERT(slot != kNoSlot, "a sequence with recurrent layers has no state");
  return reinterpret_cast<float*>(step.state + ref.slot_bytes * slot + ref.offset);
}

std::byte* Context::k_row(const KvRef& ref, std::uint32_t seq, std::uint32_t head,
                          std::uint32_t kv) const {
  const std::uint64_t tile = ref.k_offset + ref.k_tile_bytes() * head;
  return kv_row(step, ref, seq, tile, row_bytes(ref.dtype, ref.head_dim_k), kv);
}

std::byte* Context::v_row(const KvRef& ref, std::uint32_t seq, std::uint32_t head,
                          std::uint32_t kv) const {
  if (ref.v_in_k) {
    return k_row(ref, seq, head, kv);
  }
  const std::uint64_t tile = ref.v_offset + ref.v_tile_bytes() * head;
  return kv_row(step, ref, seq, tile, row_bytes(ref.dtype, ref.head_dim_v), kv);
}

}  // namespace lm::reference
