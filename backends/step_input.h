/// What changes from step to step, and nothing else does. C++17, because .cu files include it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lm {

constexpr std::uint32_t kPageTokens = 32;  ///< tokens in a KV page, one constant for all backends
constexpr std::uint32_t kPosDims =
    4;  ///< components of a position (text uses the first; M-RoPE all)
constexpr std::int32_t kNoToken = -1;           ///< the row takes its embedding from `input_embd`
constexpr std::uint32_t kNoPage = 0xffffffffu;  ///< a page released behind a window
constexpr std::uint32_t kNoSlot = 0xffffffffu;

/// One step, ragged: rows (tokens) of several sequences, each with its own length and pages.
/// Views only: the arrays belong to the caller and live until `Executable::run` returns. Backends
/// with their own memory upload them once a step. Nothing here is baked into a plan: neither n_ctx,
/// nor KV lengths, nor sequence counts. Rows of one sequence are neighbours and in rising KV order;
/// row r of sequence s sees the KV indices <= row_kv[r].
struct StepInput {
  // rows
  std::uint32_t n_row = 0;
  const std::int32_t* token = nullptr;  ///< [n_row] id, or kNoToken
  const float* input_embd = nullptr;    ///< [n_row, n_embd] or null; read where token is kNoToken
  const std::int32_t* pos = nullptr;    ///< [n_row, kPosDims] rope position
  const std::uint32_t* row_seq = nullptr;  ///< [n_row] index into the sequences below
  const std::uint32_t* row_kv = nullptr;   ///< [n_row] where in its sequence's KV the row stands

  // sequences
  std::uint32_t n_seq = 0;
  const std::uint32_t* seq_row = nullptr;  ///< [n_seq + 1] first row of each sequence
  const std::uint32_t* kv_len = nullptr;   ///< [n_seq] KV length after this step
  const std::uint32_t* state_slot =
      nullptr;  ///< [n_seq] slot of recurrent state, or kNoSlot; null: no such layers

  // pages: layers that share a visibility (full, window) form a group with its own page tables
  std::uint32_t n_group = 0;
  const std::uint32_t* page_begin =
      nullptr;  ///< [n_group, n_seq] first entry of a sequence in page_table
  const std::uint32_t* page_table =
      nullptr;  ///< page ids; entry kv / kPageTokens holds KV index kv; or kNoPage

  // outputs
  std::uint32_t n_out = 0;
  const std::uint32_t* out_row =
      nullptr;  ///< [n_out] rows whose logits are wanted, any of any sequence

  // memory of the device that runs the segment: slabs come and go without new plans
  const std::uint64_t* slab = nullptr;        ///< device addresses of slabs
  const std::uint32_t* slab_begin = nullptr;  ///< [n_group] first slab of a group
  const std::uint32_t* slab_pages = nullptr;  ///< [n_group] pages a slab
  std::uint64_t state = 0;                    ///< device address of the state slots

  /// Device address of a page: all layers of the group on this device lie in it, one after the
  /// other.
  std::uint64_t page_address(std::uint32_t group, std::uint32_t page,
                             std::uint64_t page_bytes) const {
    const std::uint32_t per_slab = slab_pages[group];
    return slab[slab_begin[group] + page / per_slab] + std::uint64_t{page % per_slab} * page_bytes;
  }
};

}  // namespace lm
