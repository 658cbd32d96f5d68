// Mean over the rows of the sequence that an output row belongs to.
#include "prelude.glsl"

layout(local_size_x = 64) in;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t x, out_;
  uint cols;
};
PUSH(Params);

void main() {
  const uint i = gl_GlobalInvocationID.x;
  const uint o = gl_WorkGroupID.y;
  if (o >= step.n_out || i >= p.cols) {
    return;
  }
  const uint seq = U32(step.row_seq).at[U32(step.out_row).at[o]];
  const uint begin = U32(step.seq_row).at[seq];
  const uint end = U32(step.seq_row).at[seq + 1];
  float sum = 0.0;
  for (uint r = begin; r < end; ++r) {
    sum += F32(p.x).at[r * p.cols + i];
  }
  F32(p.out_).at[o * p.cols + i] = sum / float(end - begin);
}
