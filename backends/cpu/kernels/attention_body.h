/// Attention over paged tiles, with the vectors of kernels/vec.h; included by attention_<isa>.cpp
/// only.
///
/// One page is 32 keys: K as [2][head_dim][16], so that a vector holds one dimension of
/// neighbouring positions and a score needs no sum across lanes; V as [32][head_dim], so that a
/// vector holds neighbouring dimensions. Every tile is read once for all query heads that share it
/// and for all rows of the item. Softmax runs online over pages.
/// Source: online softmax (Milakov & Gimelshein 2018), flash attention (Dao et al. 2022).
#pragma once

#include "backends/cpu/kernels/attention_tiles.h"
#include "backends/cpu/kernels/kv_tile.h"
#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/kernels/vec.h"

namespace lm::cpu {
namespace {

// Lowest score that a maximum starts from: finite, so that differences stay numbers. Hidden keys
// score -infinity.
constexpr float kLowest = -3.0e38f;

// f16 tiles are converted on the way up to here; for more queries once into f32 beforehand.
constexpr std::uint32_t kDirectQueries = 8;

/// Where an item keeps its state. All parts are multiples of 64 bytes.
struct Workspace {
  float* q;       ///< [heads][queries][head_dim_k], scaled
  float* sums;    ///< [heads][queries][padded(head_dim_v)]
  float* top;     ///< [heads][queries] highest score so far
  float* total;   ///< [heads][queries] sum of weights
  float* scores;  ///< [queries][kPageTokens]
  float* factor;  ///< [queries] what earlier sums are multiplied with
  float* k;       ///< converted tiles
  float* v;
  std::uint64_t bytes;

  Workspace(const ops::Attention& op, std::uint32_t rows, std::uint32_t heads, std::byte* scratch) {
    const std::uint64_t queries = static_cast<std::uint64_t>(rows) * (op.n_head / op.kv.n_head_kv);
    bytes = 0;
    const auto take = [&](std::uint64_t floats) {
      float* part = reinterpret_cast<float*>(scratch + bytes);
      bytes += (floats * sizeof(float) + 63) / 64 * 64;
      return part;
    };
    q = take(heads * queries * op.kv.head_dim_k);
    sums = take(heads * queries * padded(op.kv.head_dim_v));
    top = take(heads * queries);
    total = take(heads * queries);
    scores = take(queries * kPageTokens);
    factor = take(queries);
    k = take(static_cast<std::uint64_t>(kPageTokens) * op.kv.head_dim_k);
    v = take(static_cast<std::uint64_t>(kPageTokens) * padded(op.kv.head_dim_v));
  }
};

/// KV indices that a row sees: [begin, end).
struct Sight {
  std::uint32_t begin;
  std::uint32_t end;
};

LM_INLINE Sight sight(const AttentionItem& item, std::uint32_t row) {
  const bool causal = item.op->causal;
  const std::uint32_t kv = item.step->row_kv[row];
  const std::uint32_t window = item.op->window;
  const std::uint32_t end = causal ? kv + 1 : item.step->kv_len[item.seq];
  if (window == 0) {
    return {0, end};
  }
  const std::uint32_t reach = causal ? window - 1 : window / 2;
  const std::uint32_t begin = kv > reach ? kv - reach : 0;
  return {begin, end - kv > reach ? kv + reach + 1 : end};
}

LM_INLINE std::uint32_t bounded(std::uint32_t value, std::uint32_t first) {
  return value <= first ? 0 : (value - first < kPageTokens ? value - first : kPageTokens);
}

/// Turns scores into weights relative to the new highest score, and notes what older sums must be
/// multiplied with.
LM_INLINE void update_softmax(float* scores, std::uint32_t queries, float* top, float* total,
                              float* factor) {
  for (std::uint32_t m = 0; m < queries; ++m) {
    float* row = scores + m * kPageTokens;
    Vec s[kPageVectors];
    Vec high = splat(top[m]);
#pragma GCC unroll 8
    for (std::uint32_t i = 0; i < kPageVectors; ++i) {
      s[i] = load(row + i * kLanes);
      high = max(high, s[i]);
    }
    const float new_top = highest(high);
    Vec weights = zero();
#pragma GCC unroll 8
    for (std::uint32_t i = 0; i < kPageVectors; ++i) {
      s[i] = exp(s[i] - splat(new_top));
      weights += s[i];
      store(row + i * kLanes, s[i]);
    }
    factor[m] = top[m] == new_top ? 1.0f : exp(splat(top[m] - new_top))[0];
    total[m] = total[m] * factor[m] + sum(weights);
    top[m] = new_top;
  }
}

void cap_scores(float* scores, std::uint64_t n, float cap) {
  const Vec c = splat(cap);
  for (std::uint64_t i = 0; i < n; i += kLanes) {
    store(scores + i, c * tanh(load(scores + i) / c));
  }
}

/// Subtracts slope * distance from every score.
void add_slopes(const AttentionItem& item, std::uint32_t group, std::uint32_t head,
                std::uint32_t first, float* scores) {
  for (std::uint32_t row = item.row_begin; row < item.row_end; ++row) {
    const float at = static_cast<float>(item.step->row_kv[row]) - static_cast<float>(first);
    for (std::uint32_t g = 0; g < group; ++g, scores += kPageTokens) {
      const float slope = item.slopes[head * group + g];
      for (std::uint32_t p = 0; p < kPageTokens; ++p) {
        const float distance = static_cast<float>(p) - at;
        scores[p] -= slope * (distance < 0.0f ? -distance : distance);
      }
    }
  }
}

/// Hides keys outside the sight of each row; `first` is the KV index of the page's first key.
void hide(const AttentionItem& item, std::uint32_t group, std::uint32_t first, float* scores) {
  for (std::uint32_t row = item.row_begin; row < item.row_end; ++row) {
    const Sight seen = sight(item, row);
    const std::uint32_t begin = bounded(seen.begin, first);
    const std::uint32_t end = bounded(seen.end, first);
    for (std::uint32_t g = 0; g < group; ++g, scores += kPageTokens) {
      for (std::uint32_t p = 0; p < begin; ++p) {
        scores[p] = -__builtin_inff();
      }
      for (std::uint32_t p = end; p < kPageTokens; ++p) {
        scores[p] = -__builtin_inff();
      }
    }
  }
}

LM_INLINE const std::byte* page_of(const AttentionItem& item, std::uint32_t index) {
  const StepInput& step = *item.step;
  const std::uint32_t group = item.op->kv.group;
  const std::uint32_t page =
      step.page_table[step.page_begin[group * step.n_seq + item.seq] + index];
  const std::uint32_t per_slab = step.slab_pages[group];
  const std::uint64_t slab = step.slab[step.slab_begin[group] + page / per_slab];
  return reinterpret_cast<const std::byte*>(slab + static_cast<std::uint64_t>(page % per_slab) *
                                                       item.op->kv.page_bytes);
}

void pack_queries(const AttentionItem& item, const Workspace& work) {
  const ops::Attention& op = *item.op;
  const std::uint32_t dim = op.kv.head_dim_k;
  const std::uint32_t group = op.n_head / op.kv.n_head_kv;
  const Vec factor = splat(op.scale);
  float* to = work.q;
  for (std::uint32_t h = item.head_begin; h < item.head_end; ++h) {
    for (std::uint32_t row = item.row_begin; row < item.row_end; ++row) {
      const float* from = item.q + (static_cast<std::uint64_t>(row) * op.n_head + h * group) * dim;
      const std::uint32_t n = group * dim;
      std::uint32_t i = 0;
      for (; i + kLanes <= n; i += kLanes) {
        store(to + i, load(from + i) * factor);
      }
      for (; i < n; ++i) {
        to[i] = from[i] * op.scale;
      }
      to += n;
    }
  }
}

/// out = sums / total, with the sink as one more weight.
LM_INLINE void write_result(const float* sums, float top, float total, const float* sink,
                            std::uint32_t dim, float* out) {
  float factor = 1.0f;
  if (sink != nullptr) {
    const float new_top = top > *sink ? top : *sink;
    factor = exp(splat(top - new_top))[0];
    total = total * factor + exp(splat(*sink - new_top))[0];
  }
  factor /= total;
  for (std::uint32_t i = 0; i < dim; ++i) {
    out[i] = sums[i] * factor;
  }
}

void run(const AttentionItem& item, std::byte* scratch) {
  const ops::Attention& op = *item.op;
  const KvRef& kv = op.kv;
  const std::uint32_t rows = item.row_end - item.row_begin;
  const std::uint32_t group = op.n_head / kv.n_head_kv;
  const std::uint32_t queries = rows * group;
  const std::uint32_t heads = item.head_end - item.head_begin;
  const std::uint32_t width = padded(kv.head_dim_v);
  const Workspace work(op, rows, heads, scratch);
  pack_queries(item, work);
  for (std::uint32_t i = 0; i < heads * queries; ++i) {
    work.top[i] = kLowest;
    work.total[i] = 0.0f;
  }
  __builtin_memset(work.sums, 0, sizeof(float) * heads * queries * width);

  const std::uint64_t k_bytes = kv.k_tile_bytes();
  const std::uint64_t v_bytes = kv.v_tile_bytes();
  const bool whole_vectors = kv.head_dim_v == width;
  const bool direct_f32 = kv.dtype == DType::f32 && whole_vectors && !kv.v_in_k;
  const bool direct_f16 =
      kv.dtype == DType::f16 && whole_vectors && !kv.v_in_k && queries <= kDirectQueries;
  const Sight first_row = sight(item, item.row_begin);
  const Sight last_row = sight(item, item.row_end - 1);

  const std::byte* page = page_of(item, item.page_begin);
  for (std::uint32_t index = item.page_begin; index < item.page_end; ++index) {
    const std::byte* next_page = index + 1 < item.page_end ? page_of(item, index + 1) : page;
    const std::uint32_t first = index * kPageTokens;
    const bool all_seen = first >= last_row.begin && first + kPageTokens <= first_row.end;
    const KeyRange keys = {bounded(first_row.begin, first), bounded(last_row.end, first)};
    for (std::uint32_t h = 0; h < heads; ++h) {
      const std::uint32_t kv_head = item.head_begin + h;
      const std::byte* k = page + kv.k_offset + kv_head * k_bytes;
      const std::byte* v = kv.v_in_k ? k : page + kv.v_offset + kv_head * v_bytes;
      const bool same_page = h + 1 < heads;
      const std::byte* k_ahead =
          same_page ? k + k_bytes : next_page + kv.k_offset + item.head_begin * k_bytes;
      const std::byte* v_ahead =
          kv.v_in_k
              ? k_ahead
              : (same_page ? v + v_bytes : next_page + kv.v_offset + item.head_begin * v_bytes);
      const float* q = work.q + static_cast<std::uint64_t>(h) * queries * kv.head_dim_k;
      float* sums = work.sums + static_cast<std::uint64_t>(h) * queries * width;

      if (direct_f16) {
        score_tile<F16Tile>(q, queries, kv.head_dim_k, reinterpret_cast<const std::uint16_t*>(k),
                            work.scores, k_ahead);
      } else if (direct_f32) {
        score_tile<F32Tile>(q, queries, kv.head_dim_k, reinterpret_cast<const float*>(k),
                            work.scores, k_ahead);
      } else {
        expand_keys(kv.dtype, k, kv.head_dim_k, work.k);
        score_tile<F32Tile>(q, queries, kv.head_dim_k, work.k, work.scores, k_ahead);
      }
      if (op.softcap > 0.0f) {
        cap_scores(work.scores, static_cast<std::uint64_t>(queries) * kPageTokens, op.softcap);
      }
      if (item.slopes != nullptr) {
        add_slopes(item, group, kv_head, first, work.scores);
      }
      if (!all_seen) {
        hide(item, group, first, work.scores);
      }
      update_softmax(work.scores, queries, work.top + h * queries, work.total + h * queries,
                     work.factor);
      if (direct_f16) {
        value_tile<F16Tile>(work.scores, work.factor, queries, keys,
                            reinterpret_cast<const std::uint16_t*>(v), width, sums, width, v_ahead);
      } else if (direct_f32) {
        value_tile<F32Tile>(work.scores, work.factor, queries, keys,
                            reinterpret_cast<const float*>(v), width, sums, width, v_ahead);
      } else {
        if (kv.v_in_k) {
          transpose_keys(work.k, kv.head_dim_k, kv.head_dim_v, width, work.v);
        } else {
          expand_values(kv.dtype, v, kv.head_dim_v, width, work.v);
        }
        value_tile<F32Tile>(work.scores, work.factor, queries, keys, work.v, width, sums, width,
                            v_ahead);
      }
    }
    page = next_page;
  }

  for (std::uint32_t h = 0; h < heads; ++h) {
    for (std::uint32_t m = 0; m < queries; ++m) {
      const std::uint64_t state = static_cast<std::uint64_t>(h) * queries + m;
      const std::uint32_t row = m / group;
      const std::uint32_t head = (item.head_begin + h) * group + m % group;
      const float* sums = work.sums + state * width;
      if (item.partial == nullptr) {
        const std::uint64_t at =
            (static_cast<std::uint64_t>(item.row_begin + row) * op.n_head + head) * kv.head_dim_v;
        write_result(sums, work.top[state], work.total[state],
                     item.sinks != nullptr ? item.sinks + head : nullptr, kv.head_dim_v,
                     item.out + at);
        continue;
      }
      float* partial =
          item.partial + (static_cast<std::uint64_t>(row) * op.n_head + head) * (kv.head_dim_v + 2);
      __builtin_memcpy(partial, sums, sizeof(float) * kv.head_dim_v);
      partial[kv.head_dim_v] = work.top[state];
      partial[kv.head_dim_v + 1] = work.total[state];
    }
  }
}

void combine(const ops::Attention& op, const float* partial, std::uint64_t split_stride,
             std::uint32_t n_split, const float* sinks, float* out) {
  const std::uint32_t dim = op.kv.head_dim_v;
  for (std::uint32_t head = 0; head < op.n_head; ++head, partial += dim + 2, out += dim) {
    float top = sinks != nullptr ? sinks[head] : kLowest;
    for (std::uint32_t s = 0; s < n_split; ++s) {
      const float split_top = partial[s * split_stride + dim];
      top = split_top > top ? split_top : top;
    }
    float total = sinks != nullptr ? exp(splat(sinks[head] - top))[0] : 0.0f;
    for (std::uint32_t i = 0; i < dim; ++i) {
      out[i] = 0.0f;
    }
    for (std::uint32_t s = 0; s < n_split; ++s) {
      const float* part = partial + s * split_stride;
      const float factor = exp(splat(part[dim] - top))[0];
      total += part[dim + 1] * factor;
      for (std::uint32_t i = 0; i < dim; ++i) {
        out[i] += part[i] * factor;
      }
    }
    const float inverse = 1.0f / total;
    for (std::uint32_t i = 0; i < dim; ++i) {
      out[i] *= inverse;
    }
  }
}

std::uint64_t scratch_bytes(const ops::Attention& op, std::uint32_t rows, std::uint32_t heads) {
  return Workspace(op, rows, heads, nullptr).bytes;
}

}  // namespace
}  // namespace lm::cpu
