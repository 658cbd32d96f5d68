// Lists the (row, choice) pairs of each expert: where they begin, then the pairs. One workgroup.
#include "prelude.glsl"

layout(local_size_x = 256) in;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t ids, list;
  uint n_expert, n_used, row_set;
};
PUSH(Params);

shared uint place[1024];

void main() {
  const uint thread = gl_LocalInvocationID.x;
  const uint n_pair = ALIVE(p.row_set) * p.n_used;
  for (uint e = thread; e < p.n_expert; e += 256) {
    place[e] = 0;
  }
  barrier();
  for (uint i = thread; i < n_pair; i += 256) {
    const uint e = uint(I32(p.ids).at[i]);
    if (e < p.n_expert) {
      atomicAdd(place[e], 1);
    }
  }
  barrier();
  if (thread == 0) {
    uint begin = 0;
    for (uint e = 0; e < p.n_expert; ++e) {
      const uint count = place[e];
      U32(p.list).at[e] = begin;
      place[e] = begin;
      begin += count;
    }
    U32(p.list).at[p.n_expert] = begin;
  }
  barrier();
  for (uint i = thread; i < n_pair; i += 256) {
    const uint e = uint(I32(p.ids).at[i]);
    if (e < p.n_expert) {
      U32(p.list).at[p.n_expert + 1 + atomicAdd(place[e], 1)] = i;
    }
  }
}
