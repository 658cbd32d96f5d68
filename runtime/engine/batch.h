/// The arrays of one step, owned.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backends/step_input.h"
#include "runtime/engine/session.h"
#include "runtime/kv/page_pool.h"
#include "runtime/kv/state_pool.h"

namespace lm {

/// Turns batch items into the ragged arrays that StepInput views. Reused from step to step without
/// new memory.
class Batch {
 public:
  explicit Batch(std::uint32_t n_embd) : n_embd_(n_embd) {}

  /// The sequences must have reserved their rows.
  void build(std::span<const BatchItem> items, const PagePool& pages);
  std::uint32_t n_row() const { return static_cast<std::uint32_t>(token_.size()); }
  std::uint32_t n_out() const { return static_cast<std::uint32_t>(out_row_.size()); }

  /// The view for one device: its slab table, and the wanted rows [out_begin, out_begin + n_out).
  /// `states` is null for models without recurrent layers.
  StepInput view(const PagePool& pages, const StatePool* states, std::uint16_t device,
                 std::uint32_t out_begin, std::uint32_t n_out) const;

 private:
  std::uint32_t n_embd_;
  std::vector<std::int32_t> token_, pos_;
  std::vector<float> input_embd_;
  std::vector<std::uint32_t> row_seq_, row_kv_, seq_row_, kv_len_, state_slot_, page_begin_,
      page_table_, out_row_;
};

}  // namespace lm
