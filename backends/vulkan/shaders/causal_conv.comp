// Depthwise causal convolution: an invocation owns a channel of a sequence and its state.
#include "prelude.glsl"

layout(local_size_x = 64) in;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t x, weight, out_, slot_bytes, offset;
  uint cols, taps, act;
};
PUSH(Params);

void main() {
  const uint c = gl_GlobalInvocationID.x;
  if (c >= p.cols) {
    return;
  }
  const uint before = p.taps - 1;
  for (uint seq = gl_WorkGroupID.y; seq < step.n_seq; seq += gl_NumWorkGroups.y) {
    const uint begin = U32(step.seq_row).at[seq];
    const uint rows = U32(step.seq_row).at[seq + 1] - begin;
    if (rows == 0) {
      continue;
    }
    F32 state = F32(step.state + U32(step.state_slot).at[seq] * p.slot_bytes + p.offset);
    for (uint t = 0; t < rows; ++t) {
      float sum = 0.0;
      for (uint j = 0; j < p.taps; ++j) {
        const uint at = t + j;
        const float x = at < before ? state.at[at * p.cols + c]
                                    : F32(p.x).at[(begin + at - before) * p.cols + c];
        sum += F32(p.weight).at[c * p.taps + j] * x;
      }
      F32(p.out_).at[(begin + t) * p.cols + c] = activate(p.act, sum);
    }
    // In rising order: what is read lies behind what was written.
    for (uint i = 0; i < before; ++i) {
      const uint at = rows + i;
      state.at[i * p.cols + c] = at < before ? state.at[at * p.cols + c]
                                             : F32(p.x).at[(begin + at - before) * p.cols + c];
    }
  }
}
