// Paged attention with online softmax. A workgroup takes kHeads query heads of one KV head for kRows
// neighbouring rows, and of their pages the part gl_WorkGroupID.z of kSplits. Keys: four invocations
// a position; values: an invocation owns dimensions. Positions that no row of the workgroup sees are
// never touched: a page's tail may hold another sequence's remains, NaN included.
#include "prelude.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 1) const uint kKvType = 1;
layout(constant_id = 2) const uint kHeads = 1;
layout(constant_id = 3) const uint kRows = 1;
layout(constant_id = 4) const uint kDimK = 64;
layout(constant_id = 5) const uint kDimV = 64;
layout(constant_id = 6) const uint kSplits = 1;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t q, out_, sinks, slopes, partial;
  uint64_t page_bytes, k_offset, v_offset, k_tile, v_tile, k_row, v_row;
  uint n_head, n_head_kv, group, window;
  uint causal;
  float scale, softcap;
};
PUSH(Params);
#include "pages.glsl"

const uint kQueries = kHeads * kRows;
const uint kDims = (kDimV + 127) / 128;  // an invocation's
const float kNothing = -3.0e38;          // the score of what is not seen

shared float qs[kQueries * kDimK];
shared float sums[kQueries * 128];
shared float weights[kQueries * 32];
shared float top[kQueries];
shared float total[kQueries];
shared float shrink[kQueries];

uint first_seen(uint row) {
  const uint at = U32(step.row_kv).at[row];
  if (p.window == 0) {
    return 0;
  }
  const uint reach = p.causal != 0 ? p.window - 1 : p.window / 2;
  return at > reach ? at - reach : 0;
}
// One behind the last.
uint end_seen(uint row, uint seq) {
  const uint at = U32(step.row_kv).at[row];
  if (p.causal != 0) {
    return at + 1;
  }
  const uint len = U32(step.kv_len).at[seq];
  const uint reach = p.window / 2;
  return p.window == 0 || reach >= len - at ? len : at + reach + 1;
}

void main() {
  const uint thread = gl_LocalInvocationID.x;
  const uint first_head = gl_WorkGroupID.x * kHeads;
  const uint kv_head = first_head / (p.n_head / p.n_head_kv);
  const uint last_row = min((gl_WorkGroupID.y + 1) * kRows, step.n_row);

  // Rows of the workgroup that belong to one sequence, then those of the next.
  for (uint row = gl_WorkGroupID.y * kRows; row < last_row;) {
    const uint seq = U32(step.row_seq).at[row];
    uint rows_end = row + 1;
    while (rows_end < last_row && U32(step.row_seq).at[rows_end] == seq) {
      ++rows_end;
    }
    const uint begin = first_seen(row);
    const uint end = end_seen(rows_end - 1, seq);
    const uint first_page = begin / kPageTokens;
    const uint n_page = (end + kPageTokens - 1) / kPageTokens - first_page;
    const uint per_split = (n_page + kSplits - 1) / kSplits;
    const uint page_begin = first_page + min(gl_WorkGroupID.z * per_split, n_page);
    const uint page_end = first_page + min((gl_WorkGroupID.z + 1) * per_split, n_page);

    barrier();
    for (uint i = thread; i < kQueries * kDimK; i += 128) {
      const uint query = i / kDimK;
      const uint r = row + query / kHeads;
      const uint h = first_head + query % kHeads;
      qs[i] = r < rows_end ? F32(p.q).at[(r * p.n_head + h) * kDimK + i % kDimK] : 0.0;
    }
    if (thread < kQueries) {
      // A sink is a key whose value is zero; one split has it.
      const bool sink = p.sinks != 0 && gl_WorkGroupID.z == 0;
      top[thread] = sink ? F32(p.sinks).at[first_head + thread % kHeads] : kNothing;
      total[thread] = sink ? 1.0 : 0.0;
    }
    float sums_of[kQueries * kDims];
    for (uint i = 0; i < kQueries * kDims; ++i) {
      sums_of[i] = 0.0;
    }
    barrier();

    for (uint page = page_begin; page < page_end; ++page) {
      const uint64_t address =
          page_address(p.group, page_of(p.group, seq, page), p.page_bytes);
      const uint64_t keys = address + p.k_offset + kv_head * p.k_tile;
      const uint64_t values = address + p.v_offset + kv_head * p.v_tile;
      const uint page_first = page * kPageTokens;

      float dots[kQueries];
      for (uint query = 0; query < kQueries; ++query) {
        dots[query] = 0.0;
      }
      const uint mine = thread / 4;
      if (page_first + mine >= begin && page_first + mine < end) {
        const uint64_t key = keys + mine * p.k_row;
        for (uint i = thread % 4; i < kDimK; i += 4) {
          const float k = kv_value(kKvType, key, i);
          for (uint query = 0; query < kQueries; ++query) {
            dots[query] += k * qs[query * kDimK + i];
          }
        }
      }
      for (uint query = 0; query < kQueries; ++query) {
        sums[query * 128 + thread] = dots[query];
      }
      barrier();
      for (uint i = thread; i < kQueries * 32; i += 128) {
        const uint query = i / 32;
        const uint at = page_first + i % 32;
        const uint r = row + query / kHeads;
        float score = kNothing;
        if (r < rows_end && at >= first_seen(r) && at < end_seen(r, seq)) {
          score = (sums[4 * i] + sums[4 * i + 1]) + (sums[4 * i + 2] + sums[4 * i + 3]);
          score = softcap_of(score * p.scale, p.softcap);
          if (p.slopes != 0) {
            const uint here = U32(step.row_kv).at[r];
            score -= F32(p.slopes).at[first_head + query % kHeads] *
                     float(at > here ? at - here : here - at);
          }
        }
        weights[i] = score;
      }
      barrier();
      if (thread < kQueries) {
        float best = top[thread];
        for (uint i = 0; i < 32; ++i) {
          best = max(best, weights[32 * thread + i]);
        }
        shrink[thread] = top[thread] == kNothing ? 0.0 : exp(top[thread] - best);
        top[thread] = best;
      }
      barrier();
      for (uint i = thread; i < kQueries * 32; i += 128) {
        weights[i] = weights[i] == kNothing ? 0.0 : exp(weights[i] - top[i / 32]);
      }
      barrier();
      if (thread < kQueries) {
        float sum = 0.0;
        for (uint i = 0; i < 32; ++i) {
          sum += weights[32 * thread + i];
        }
        total[thread] = total[thread] * shrink[thread] + sum;
      }
      for (uint i = 0; i < kQueries * kDims; ++i) {
        sums_of[i] *= shrink[i / kDims];
      }
      const uint from = max(begin, page_first) - page_first;
      const uint to = min(end - page_first, kPageTokens);
      for (uint i = from; i < to; ++i) {
        const uint64_t value = values + i * p.v_row;
        for (uint d = 0; d < kDims; ++d) {
          const uint dim = thread + 128 * d;
          if (dim < kDimV) {
            const float v = kv_value(kKvType, value, dim);
            for (uint query = 0; query < kQueries; ++query) {
              sums_of[query * kDims + d] += weights[32 * query + i] * v;
            }
          }
        }
      }
      barrier();
    }

    for (uint query = 0; query < kQueries; ++query) {
      const uint r = row + query / kHeads;
      if (r >= rows_end) {
        continue;
      }
      const uint h = r * p.n_head + first_head + query % kHeads;
      if (kSplits == 1) {
        for (uint d = 0; d < kDims; ++d) {
          if (thread + 128 * d < kDimV) {
            F32(p.out_).at[h * kDimV + thread + 128 * d] =
                sums_of[query * kDims + d] / total[query];
          }
        }
      } else {
        F32 part = F32(p.partial + uint64_t((h * kSplits + gl_WorkGroupID.z) * (kDimV + 2)) * 4);
        for (uint d = 0; d < kDims; ++d) {
          if (thread + 128 * d < kDimV) {
            part.at[thread + 128 * d] = sums_of[query * kDims + d];
          }
        }
        if (thread == 0) {
          part.at[kDimV] = top[query];
          part.at[kDimV + 1] = total[query];
        }
      }
    }
    row = rows_end;
  }
}
