// Products of many rows: tiles of 64 weight rows by kTokens rows of x, both unpacked into shared
// memory 32 values deep; an invocation holds 4 x (kTokens / 8) sums.
#include "prelude.glsl"
#include "blocks.glsl"

layout(local_size_x = 128) in;
#include "product.glsl"

const uint kTile = 64;
const uint kDepth = 32;
const uint kMine = kTokens / 8;
shared float ws[kDepth][kTile + 1];
shared float xs[kDepth][kTokens + 1];

void multiply_tile(const Batch b, uint64_t load_row, uint first_o, uint first_row) {
  const uint thread = gl_LocalInvocationID.x;
  const uint mine_o = thread % 16;  // weight rows mine_o + 16 i
  const uint mine_t = thread / 16;  // rows of x mine_t + 8 i
  float sums[4 * kMine];
  for (uint i = 0; i < 4 * kMine; ++i) {
    sums[i] = 0.0;
  }
  for (uint begin = 0; begin < p.n_in; begin += kDepth) {
    {
      float w[16];
      const uint half_tile = thread % 2;
      const uint at = begin + 16 * half_tile;
      if (at < p.n_in) {
        unpack(load_row, at / 16, p.n_in, step.grids, w);
      } else {
        for (uint j = 0; j < 16; ++j) {
          w[j] = 0.0;
        }
      }
      [[unroll]] for (uint j = 0; j < 16; ++j) {
        ws[16 * half_tile + j][thread / 2] = w[j];
      }
    }
    for (uint i = thread; i < kDepth / 4 * kTokens; i += 128) {
      const uint k = 4 * (i % (kDepth / 4));
      const uint t = i / (kDepth / 4);
      vec4 four = vec4(0.0);
      if (first_row + t < b.n_row) {
        const uint64_t from = p.x + uint64_t(x_at(b, first_row + t) + begin + k) * 4;
        if (kWide != 0) {
          four = F32x4(from).at[0];
        } else {
          [[unroll]] for (uint j = 0; j < 4; ++j) {
            if (begin + k + j < p.n_in) {
              four[j] = F32(from).at[j];
            }
          }
        }
      }
      [[unroll]] for (uint j = 0; j < 4; ++j) {
        xs[k + j][t] = four[j];
      }
    }
    barrier();
    // Unrolled by four only: more makes code that takes drivers a second to compile.
    [[dont_unroll]] for (uint four = 0; four < kDepth; four += 4) {
      [[unroll]] for (uint j = 0; j < 4; ++j) {
        const uint k = four + j;
        float w[4];
        [[unroll]] for (uint i = 0; i < 4; ++i) {
          w[i] = ws[k][mine_o + 16 * i];
        }
        for (uint t = 0; t < kMine; ++t) {
          const float x = xs[k][mine_t + 8 * t];
          [[unroll]] for (uint i = 0; i < 4; ++i) {
            sums[4 * t + i] += w[i] * x;
          }
        }
      }
    }
    barrier();
  }
  for (uint t = 0; t < kMine; ++t) {
    const uint row = first_row + mine_t + 8 * t;
    if (row < b.n_row) {
      const uint begin = out_at(b, row);
      [[unroll]] for (uint i = 0; i < 4; ++i) {
        const uint o = first_o + mine_o + 16 * i;
        if (o < p.n_out) {
          finish(b, begin, o, sums[4 * t + i]);
        }
      }
    }
  }
}

void main() {
  Batch b;
  if (!find_batch(b)) {
    return;
  }
  const uint thread = gl_LocalInvocationID.x;
  const uint first_o = gl_WorkGroupID.x * kTile;
  const uint load_o = min(first_o + thread / 2, p.n_out - 1);
  const uint64_t load_row = b.weight + uint64_t(load_o) * p.row_bytes;
  for (uint first_row = gl_WorkGroupID.y * kTokens; first_row < b.n_row;
       first_row += gl_NumWorkGroups.y * kTokens) {
    multiply_tile(b, load_row, first_o, first_row);
  }
}
