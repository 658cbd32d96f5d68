/// How the attention of one step is cut into items: once per run, for all layers that see the same
/// keys.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/cpu/step.h"

namespace lm::cpu {

/// Rows of one sequence, some KV heads, a range of its pages.
struct AttentionPart {
  std::uint32_t seq;
  std::uint32_t row_begin, row_end;
  std::uint32_t head_begin, head_end;
  std::uint32_t page_begin, page_end;
  std::uint32_t slot;  ///< of its first row's partial result, or kNoSlot: it sees all its keys
};

/// Rows whose keys were split over several parts, to be joined afterwards.
struct AttentionJoin {
  std::uint32_t row_begin, row_end;
  std::uint32_t slot;     ///< partial result of row_begin in the first split
  std::uint32_t n_split;  ///< the splits lie row_end - row_begin slots apart
};

/// A slot holds one row's partial result of all query heads.
class AttentionPlan {
 public:
  /// Room for every step of a bucket is taken here, once.
  AttentionPlan(const ops::Attention& op, std::uint32_t n_threads, std::uint32_t max_rows);

  /// True when both ops cut alike.
  bool fits(const ops::Attention& op) const;
  /// Cuts the step of `run`, unless that was done already.
  void prepare(const RunState& run);

  const std::vector<AttentionPart>& parts() const { return parts_; }
  const std::vector<AttentionJoin>& joins() const { return joins_; }
  std::uint64_t partial_bytes() const;
  std::uint64_t slot_floats() const { return std::uint64_t{op_.n_head} * (op_.kv.head_dim_v + 2); }
  /// Most rows and KV heads that a part has, in any step.
  std::uint32_t max_part_rows() const { return block_rows_; }
  std::uint32_t max_part_heads() const { return op_.kv.n_head_kv; }
  /// KV bytes that the parts read.
  std::uint64_t bytes_read() const;

 private:
  struct Block {
    std::uint32_t seq, row_begin, row_end, page_begin, page_end;
  };
  Block block_of(const StepInput& step, std::uint32_t seq, std::uint32_t row_begin,
                 std::uint32_t row_end) const;
  void cut(const Block& block, std::uint64_t tiles_wanted);

  ops::Attention op_;
  std::uint32_t n_threads_;
  std::uint32_t block_rows_;
  std::uint32_t max_slots_;
  std::uint32_t used_slots_ = 0;
  std::uint64_t run_number_ = 0;
  std::vector<Block> blocks_;
  std::vector<AttentionPart> parts_;
  std::vector<AttentionJoin> joins_;
};

}  // namespace lm::cpu
