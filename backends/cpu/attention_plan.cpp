#include "backends/cpu/attention_plan.h"

#include <algorithm>

namespace lm::cpu {
namespace {

// Queries that share a tile in one item: enough to pay for its conversion, few enough for their
// state to stay in L2.
constexpr std::uint32_t kBlockQueries = 64;

// Work stealing evens out threads when each finds a few items; more only adds claims and joins.
constexpr std::uint32_t kPartsPerThread = 4;

// Tiles (a page's keys and values of one head) below which a part costs more to claim than to
// compute.
constexpr std::uint64_t kMinTiles = 8;

// Partial results of many rows on many threads would take more memory than they are worth: such
// rows are cut by heads only. One row can always be split.
constexpr std::uint64_t kMaxPartialBytes = std::uint64_t{8} << 20;

}  // namespace

AttentionPlan::AttentionPlan(const ops::Attention& op, std::uint32_t n_threads,
                             std::uint32_t max_rows)
    : op_(op), n_threads_(n_threads) {
  const std::uint32_t group = op.n_head / op.kv.n_head_kv;
  block_rows_ = std::clamp(kBlockQueries / group, 1u, std::max(max_rows, 1u));
  // A part holds at least 1 / (threads * kPartsPerThread) of all tiles, so that there are at most
  // twice as many splits as that, each of one block's rows.
  const std::uint32_t max_splits = 2 * kPartsPerThread * n_threads;
  const std::uint64_t affordable = kMaxPartialBytes / (slot_floats() * sizeof(float));
  max_slots_ = std::max(max_splits, static_cast<std::uint32_t>(std::min<std::uint64_t>(
                                        std::uint64_t{max_splits} * block_rows_, affordable)));
  blocks_.reserve(max_rows);
  joins_.reserve(max_splits);
  parts_.reserve(std::uint64_t{max_rows} * op.kv.n_head_kv + max_splits);
}

bool AttentionPlan::fits(const ops::Attention& op) const {
  return op.kv.group == op_.kv.group && op.n_head == op_.n_head &&
         op.kv.n_head_kv == op_.kv.n_head_kv && op.kv.head_dim_k == op_.kv.head_dim_k &&
         op.kv.head_dim_v == op_.kv.head_dim_v && op.kv.dtype == op_.kv.dtype &&
         op.kv.v_in_k == op_.kv.v_in_k && op.window == op_.window && op.causal == op_.causal;
}

std::uint64_t AttentionPlan::partial_bytes() const {
  return slot_floats() * max_slots_ * sizeof(float);
}

std::uint64_t AttentionPlan::bytes_read() const {
  std::uint64_t tiles = 0;
  for (const AttentionPart& part : parts_) {
    tiles += std::uint64_t{part.head_end - part.head_begin} * (part.page_end - part.page_begin);
  }
  return tiles * (op_.kv.k_tile_bytes() + op_.kv.v_tile_bytes());
}

AttentionPlan::Block AttentionPlan::block_of(const StepInput& step, std::uint32_t seq,
                                             std::uint32_t row_begin, std::uint32_t row_end) const {
  const std::uint32_t first = step.row_kv[row_begin];
  const std::uint32_t last = step.row_kv[row_end - 1];
  std::uint32_t lowest = 0;
  std::uint32_t highest = op_.causal ? last : step.kv_len[seq] - 1;
  if (op_.window != 0) {
    const std::uint32_t reach = op_.causal ? op_.window - 1 : op_.window / 2;
    lowest = first > reach ? first - reach : 0;
    highest = highest - last > reach ? last + reach : highest;
  }
  return {seq, row_begin, row_end, lowest / kPageTokens, highest / kPageTokens + 1};
}

void AttentionPlan::prepare(const RunState& run) {
  if (run_number_ == run.run_number) {
    return;
  }
  run_number_ = run.run_number;
  blocks_.clear();
  parts_.clear();
  joins_.clear();
  used_slots_ = 0;
  const StepInput& step = *run.input;
  std::uint64_t tiles = 0;
  for (std::uint32_t seq = 0; seq < step.n_seq; ++seq) {
    // From the end: the last rows see most keys, and the longest parts should begin first.
    for (std::uint32_t end = step.seq_row[seq + 1]; end > step.seq_row[seq];) {
      const std::uint32_t rows = std::min(block_rows_, end - step.seq_row[seq]);
      blocks_.push_back(block_of(step, seq, end - rows, end));
      tiles +=
          std::uint64_t{blocks_.back().page_end - blocks_.back().page_begin} * op_.kv.n_head_kv;
      end -= rows;
    }
  }
  const std::uint64_t wanted =
      std::max(kMinTiles, tiles / (std::uint64_t{kPartsPerThread} * n_threads_) + 1);
  for (const Block& block : blocks_) {
    cut(block, wanted);
  }
}

/// First by heads, which costs nothing. Only when one head's pages are more than a part should
/// hold, by pages too, and then all heads stay together: a page's tiles are neighbours in memory.
void AttentionPlan::cut(const Block& block, std::uint64_t tiles_wanted) {
  const std::uint32_t heads = op_.kv.n_head_kv;
  const std::uint32_t pages = block.page_end - block.page_begin;
  const std::uint32_t rows = block.row_end - block.row_begin;
  AttentionPart part{block.seq, block.row_begin,  block.row_end,  0,
                     heads,     block.page_begin, block.page_end, kNoSlot};

  if (pages > tiles_wanted) {
    const auto pages_wanted =
        static_cast<std::uint32_t>(std::max<std::uint64_t>(tiles_wanted / heads, 1));
    const std::uint32_t n_split = div_up(pages, pages_wanted);
    if (joins_.size() < joins_.capacity() &&
        used_slots_ + std::uint64_t{n_split} * rows <= max_slots_) {
      joins_.push_back({block.row_begin, block.row_end, used_slots_, n_split});
      for (std::uint32_t s = 0; s < n_split; ++s, used_slots_ += rows) {
        part.page_begin = block.page_begin + s * pages_wanted;
        part.page_end = std::min(part.page_begin + pages_wanted, block.page_end);
        part.slot = used_slots_;
        parts_.push_back(part);
      }
      return;
    }
  }
  // Many queries on many heads would only crowd each other out of the caches.
  const std::uint64_t most_heads = rows == 1 ? heads : 1;
  const auto heads_wanted = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(tiles_wanted / std::max(pages, 1u), 1, most_heads));
  for (part.head_begin = 0; part.head_begin < heads; part.head_begin = part.head_end) {
    part.head_end = std::min(part.head_begin + heads_wanted, heads);
    parts_.push_back(part);
  }
}

}  // namespace lm::cpu
