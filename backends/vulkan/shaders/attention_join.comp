// Joins the parts of a query head: each is shrunk to the largest score of all.
#include "prelude.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const uint kDimV = 64;
layout(constant_id = 2) const uint kSplits = 1;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t partial, out_;
  uint n_head;
};
PUSH(Params);

void main() {
  const uint h = gl_WorkGroupID.y * p.n_head + gl_WorkGroupID.x;
  if (gl_WorkGroupID.y >= step.n_row) {
    return;
  }
  F32 part = F32(p.partial + uint64_t(h * kSplits * (kDimV + 2)) * 4);
  float top = -3.0e38;
  for (uint s = 0; s < kSplits; ++s) {
    top = max(top, part.at[s * (kDimV + 2) + kDimV]);
  }
  float total = 0.0;
  for (uint s = 0; s < kSplits; ++s) {
    total += part.at[s * (kDimV + 2) + kDimV + 1] * exp(part.at[s * (kDimV + 2) + kDimV] - top);
  }
  for (uint d = gl_LocalInvocationID.x; d < kDimV; d += 64) {
    float sum = 0.0;
    for (uint s = 0; s < kSplits; ++s) {
      sum += part.at[s * (kDimV + 2) + d] * exp(part.at[s * (kDimV + 2) + kDimV] - top);
    }
    F32(p.out_).at[h * kDimV + d] = sum / total;
  }
}
