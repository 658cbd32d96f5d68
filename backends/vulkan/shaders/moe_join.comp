// out = sum over a row's choices of weight * what their expert gave, or added to out.
#include "prelude.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const uint kAccumulate = 0;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t results, weights, out_;
  uint cols, n_used, row_set;
};
PUSH(Params);

void main() {
  const uint row = gl_WorkGroupID.y;
  const uint i = gl_GlobalInvocationID.x;
  if (row >= ALIVE(p.row_set) || i >= p.cols) {
    return;
  }
  float sum = 0.0;
  for (uint k = 0; k < p.n_used; ++k) {
    const uint pair = row * p.n_used + k;
    sum += F32(p.weights).at[pair] * F32(p.results).at[pair * p.cols + i];
  }
  F32 to = F32(p.out_ + uint64_t(row * p.cols + i) * 4);
  to.at[0] = kAccumulate != 0 ? to.at[0] + sum : sum;
}
