// RMS and layer norm of a row, or of each group of a row.
#include "prelude.glsl"

layout(local_size_x_id = 0) in;
#include "reduce.glsl"
layout(constant_id = 1) const uint kLayer = 0;
layout(constant_id = 2) const uint kAccumulate = 0;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t x, out_, weight, bias;
  uint cols, n;  // n values are normalised together
  uint weight_by_group, bias_by_group;  // 0: the same n values for every group
  uint row_set;
  float eps;
};
PUSH(Params);

void main() {
  const uint groups = p.cols / p.n;
  const uint total = ALIVE(p.row_set) * groups;
  for (uint item = gl_WorkGroupID.x; item < total; item += gl_NumWorkGroups.x) {
    const uint begin = item % groups * p.n;
    const uint64_t offset = (uint64_t(item / groups) * p.cols + begin) * 4;
    F32 x = F32(p.x + offset);
    F32 to = F32(p.out_ + offset);
    float mean = 0.0;
    if (kLayer != 0) {
      float sum = 0.0;
      for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x) {
        sum += x.at[i];
      }
      mean = workgroup_sum(sum) / float(p.n);
    }
    float square = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x) {
      const float d = x.at[i] - mean;
      square += d * d;
    }
    const float factor = 1.0 / sqrt(workgroup_sum(square) / float(p.n) + p.eps);
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x) {
      float value = (x.at[i] - mean) * factor;
      if (p.weight != 0) {
        value *= F32(p.weight).at[i + begin * p.weight_by_group];
      }
      if (p.bias != 0) {
        value += F32(p.bias).at[i + begin * p.bias_by_group];
      }
      to.at[i] = kAccumulate != 0 ? to.at[i] + value : value;
    }
  }
}
