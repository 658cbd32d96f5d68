// Rows of a table: token embeddings, learned positions, an added row.
#include "prelude.glsl"
#include "blocks.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const uint kRowOf = 0;  // 0: token, 1: position (added), 2: row 0 (added)

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t table, out_, row_bytes;
  uint n, n_rows;
  uint takes_input;
  float scale;
};
PUSH(Params);

void main() {
  const uint row = gl_WorkGroupID.x;
  if (row >= step.n_row) {
    return;
  }
  F32 to = F32(p.out_ + uint64_t(row) * p.n * 4);
  const int index = kRowOf == 0 ? I32(step.token).at[row] : kRowOf == 1 ? I32(step.pos).at[row] : 0;
  const bool known = index >= 0 && uint(index) < p.n_rows;
  if (!known) {
    // A wrong id shows as NaN; kNoToken (-1) takes the caller's embedding where there is one.
    const bool no_token = kRowOf == 0 && index == -1;
    const bool input_given = no_token && p.takes_input != 0 && step.input_embd != 0;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += 64) {
      to.at[i] = input_given ? F32(step.input_embd).at[row * p.n + i]
                             : (no_token && p.takes_input == 0 ? 0.0 : kNaN);
    }
    return;
  }
  const uint64_t from = p.table + uint64_t(index) * p.row_bytes;
  for (uint chunk = gl_LocalInvocationID.x; chunk < (p.n + 15) / 16; chunk += 64) {
    float w[16];
    unpack(from, chunk, p.n, step.grids, w);
    [[unroll]] for (uint j = 0; j < 16; ++j) {
      const uint i = 16 * chunk + j;
      if (i < p.n) {
        to.at[i] = kRowOf == 0 ? p.scale * w[j] : to.at[i] + w[j];
      }
    }
  }
}
