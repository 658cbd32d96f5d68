// add, mul, scale, copy_cols, gather_rows: one value an invocation and turn.
#include "prelude.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 1) const uint kOp = 0;  // below

const uint kAdd = 0, kMul = 1, kScale = 2, kCopyCols = 3, kGather = 4;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t a, b, out_;
  uint cols, row_set;
  float factor_a, factor_b;
  uint act;
  uint a_cols, a_constant;                                    // mul
  uint groups, x_groups, x_width, x_begin, out_width, out_begin;  // copy_cols; cols: n
};
PUSH(Params);

void main() {
  const uint per_row = kOp == kCopyCols ? p.groups * p.cols : p.cols;
  const uint n = ALIVE(p.row_set) * per_row;
  for (uint i = gl_GlobalInvocationID.x; i < n; i += gl_NumWorkGroups.x * 256) {
    const uint row = i / per_row;
    const uint col = i % per_row;
    if (kOp == kAdd) {
      F32(p.out_).at[i] = p.factor_a * F32(p.a).at[i] + p.factor_b * F32(p.b).at[i];
    } else if (kOp == kMul) {
      const uint at = (p.a_constant != 0 ? 0 : row * p.a_cols) + (p.a_cols == 1 ? 0 : col);
      F32(p.out_).at[i] = activate(p.act, F32(p.a).at[at]) * F32(p.b).at[i];
    } else if (kOp == kScale) {
      F32(p.out_).at[i] = p.factor_a * F32(p.a).at[i];
    } else if (kOp == kCopyCols) {
      const uint group = col / p.cols;
      const uint from = (row * p.x_groups + (p.x_groups == 1 ? 0 : group)) * p.x_width + p.x_begin;
      const uint to = (row * p.groups + group) * p.out_width + p.out_begin;
      F32(p.out_).at[to + col % p.cols] = F32(p.a).at[from + col % p.cols];
    } else {
      F32(p.out_).at[i] = F32(p.a).at[U32(step.out_row).at[row] * p.cols + col];
    }
  }
}
