// Rotation, writing to pages, and attention over them.
#include <algorithm>

#include "backends/vulkan/emit.h"

namespace lm::vulkan {
namespace {

struct RopeParams {
  std::uint64_t q, k, v, q_norm, k_norm, inv_freq;
  std::uint64_t page_bytes, k_offset, v_offset, k_tile, v_tile, k_row, v_row;
  std::uint32_t n_head, n_head_kv, dim_k, dim_v;
  std::uint32_t n_rot, rot_begin, group, v_norm;
  float norm_eps, magnitude, temperature, temperature_length;
};

struct AttentionParams {
  std::uint64_t q, out, sinks, slopes, partial;
  std::uint64_t page_bytes, k_offset, v_offset, k_tile, v_tile, k_row, v_row;
  std::uint32_t n_head, n_head_kv, group, window;
  std::uint32_t causal;
  float scale, softcap;
};

struct AttentionJoinParams {
  std::uint64_t partial, out;
  std::uint32_t n_head;
};

/// Where V of a layer lies: in pages of its own, or in K's rows.
template <class Params>
void place_kv(const KvRef& kv, Params& p) {
  p.page_bytes = kv.page_bytes;
  p.k_offset = kv.k_offset;
  p.k_tile = kv.k_tile_bytes();
  p.k_row = row_bytes(kv.dtype, kv.head_dim_k);
  p.v_offset = kv.v_in_k ? kv.k_offset : kv.v_offset;
  p.v_tile = kv.v_in_k ? kv.k_tile_bytes() : kv.v_tile_bytes();
  p.v_row = row_bytes(kv.dtype, kv.v_in_k ? kv.head_dim_k : kv.head_dim_v);
}

// Queries (heads x rows) of a workgroup: bounded by registers and by shared memory, of which 32 KiB
// are certain: 18 KiB for the queries, 5 for scores.
constexpr std::uint32_t kMaxQueries = 8;
constexpr std::uint32_t kQueryValues = 4608;
// Steps of few rows fill a device only when the pages of a head are shared out.
constexpr std::uint32_t kSplitRows = 8;
constexpr std::uint32_t kSplits = 16;

}  // namespace

void emit(const ops::RopeKvWrite& op, Emitter& e) {
  RopeParams p{};
  p.q = e.at(op.q);
  p.k = e.at(op.k);
  p.v = e.at(op.v);
  p.q_norm = e.at(op.q_norm);
  p.k_norm = e.at(op.k_norm);
  p.inv_freq = e.at(op.inv_freq);
  place_kv(op.kv, p);
  p.n_head = op.n_head;
  p.n_head_kv = op.kv.n_head_kv;
  p.dim_k = op.kv.head_dim_k;
  p.dim_v = op.kv.head_dim_v;
  p.n_rot = op.n_rot;
  p.rot_begin = op.rot_begin;
  p.group = op.kv.group;
  p.v_norm = op.v_norm ? 1 : 0;
  p.norm_eps = op.norm_eps;
  p.magnitude = op.magnitude;
  p.temperature = op.temperature;
  p.temperature_length = op.temperature_length;
  const std::uint32_t written =
      (op.k.empty() ? 0 : op.kv.n_head_kv) + (op.v.empty() ? 0 : op.kv.n_head_kv);
  e.dispatch("rope_kv_write",
             {64, kv_type_number(op.kv.dtype), static_cast<std::uint32_t>(op.rope),
              std::max(op.kv.head_dim_k, op.kv.head_dim_v)},
             p, e.max_rows(), op.n_head + written);
}

void emit(const ops::Attention& op, Emitter& e) {
  AttentionParams p{};
  p.q = e.at(op.q);
  p.out = e.at(op.out);
  p.sinks = e.at(op.sinks);
  p.slopes = e.at(op.slopes);
  place_kv(op.kv, p);
  p.n_head = op.n_head;
  p.n_head_kv = op.kv.n_head_kv;
  p.group = op.kv.group;
  p.window = op.window;
  p.causal = op.causal ? 1 : 0;
  p.scale = op.scale;
  p.softcap = op.softcap;

  const std::uint32_t rows = e.max_rows();
  const std::uint32_t heads_of_kv = op.n_head / op.kv.n_head_kv;
  const std::uint32_t most = std::clamp(kQueryValues / op.kv.head_dim_k, 1u, kMaxQueries);
  std::uint32_t heads = std::min(heads_of_kv, most);
  while (heads_of_kv % heads != 0) {
    --heads;
  }
  const std::uint32_t rows_at_once = rows <= kSplitRows ? 1 : std::max(most / heads, 1u);
  const std::uint32_t splits = rows <= kSplitRows ? kSplits : 1;
  if (splits > 1) {
    p.partial = e.scratch(std::uint64_t{rows} * op.n_head * splits * (op.kv.head_dim_v + 2) *
                          sizeof(float));
  }
  e.dispatch("attention",
             {128, kv_type_number(op.kv.dtype), heads, rows_at_once, op.kv.head_dim_k,
              op.kv.head_dim_v, splits},
             p, op.n_head / heads, parts(rows, rows_at_once), splits);
  if (splits > 1) {
    e.dispatch("attention_join", {64, op.kv.head_dim_v, splits},
               AttentionJoinParams{p.partial, p.out, op.n_head}, op.n_head, rows, 1, true);
  }
}

}  // namespace lm::vulkan
