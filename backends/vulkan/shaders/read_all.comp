// Reads a range once: the bandwidth of the device. The sum keeps the loads alive.
#include "prelude.glsl"

layout(local_size_x = 256) in;

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer U32x4 { uvec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t from, out_;
  uint n;  // of 16 bytes
};
PUSH(Params);

void main() {
  const uint stride = gl_NumWorkGroups.x * 256;
  uvec4 sum = uvec4(0);
  for (uint i = gl_GlobalInvocationID.x; i < p.n; i += stride) {
    sum += U32x4(p.from).at[i];
  }
  if (sum.x + sum.y + sum.z + sum.w == 0x9e3779b9u) {
    U32(p.out_).at[0] = sum.x;
  }
}
