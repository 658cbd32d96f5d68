// Products of few rows: a workgroup reads kWeightRows weight rows once, each invocation 16 values
// at a time, and multiplies them with every row of x.
#include "prelude.glsl"
#include "blocks.glsl"

layout(local_size_x_id = 0) in;
#include "product.glsl"
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(constant_id = 4) const uint kWeightRows = 2;

const uint kSums = kWeightRows * kTokens;
shared float parts[kSums * gl_WorkGroupSize.x];

// 16 values of x; of rows without blocks those behind the end are zero.
void load_x(uint64_t from, uint begin, out float x[16]) {
#if BLOCK > 1
  if (kWide != 0) {
    [[unroll]] for (uint i = 0; i < 4; ++i) {
      const vec4 four = F32x4(from).at[i];
      [[unroll]] for (uint j = 0; j < 4; ++j) {
        x[4 * i + j] = four[j];
      }
    }
    return;
  }
#endif
  for (uint j = 0; j < 16; ++j) {
    x[j] = BLOCK > 1 || begin + j < p.n_in ? F32(from).at[j] : 0.0;
  }
}

void main() {
  Batch b;
  if (!find_batch(b)) {
    return;
  }
  const uint thread = gl_LocalInvocationID.x;
  const uint chunks = (p.n_in + 15) / 16;
  const uint step_rows = gl_NumWorkGroups.x * kWeightRows;
  for (uint o = gl_WorkGroupID.x * kWeightRows; o < p.n_out; o += step_rows) {
    float sums[kSums];
    for (uint i = 0; i < kSums; ++i) {
      sums[i] = 0.0;
    }
    for (uint chunk = thread; chunk < chunks; chunk += gl_WorkGroupSize.x) {
      float w[kWeightRows][16];
      for (uint r = 0; r < kWeightRows; ++r) {
        // A row too many reads the last one again.
        unpack(b.weight + uint64_t(min(o + r, p.n_out - 1)) * p.row_bytes, chunk, p.n_in,
               step.grids, w[r]);
      }
      for (uint t = 0; t < kTokens; ++t) {
        if (t < b.n_row) {
          float x[16];
          load_x(p.x + uint64_t(b.x_offset + t * p.x_stride + 16 * chunk) * 4, 16 * chunk, x);
          for (uint r = 0; r < kWeightRows; ++r) {
            float sum = 0.0;
            [[unroll]] for (uint j = 0; j < 16; ++j) {
              sum += w[r][j] * x[j];
            }
            sums[r * kTokens + t] += sum;
          }
        }
      }
    }
    for (uint i = 0; i < kSums; ++i) {
      const float part = subgroupAdd(sums[i]);
      if (subgroupElect()) {
        parts[i * gl_WorkGroupSize.x + gl_SubgroupID] = part;
      }
    }
    barrier();
    for (uint i = thread; i < kSums; i += gl_WorkGroupSize.x) {
      const uint r = i / kTokens;
      const uint t = i % kTokens;
      if (o + r < p.n_out && t < b.n_row) {
        float sum = 0.0;
        for (uint s = 0; s < gl_NumSubgroups; ++s) {
          sum += parts[i * gl_WorkGroupSize.x + s];
        }
        finish(b, b.out_offset + t * p.out_stride, o + r, sum);
      }
    }
    barrier();
  }
}
