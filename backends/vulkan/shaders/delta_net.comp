// Gated delta rule: a workgroup owns a head of a sequence, an invocation columns of its state.
#include "prelude.glsl"

layout(local_size_x = 64) in;
#include "reduce.glsl"
layout(constant_id = 1) const uint kDim = 64;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t qkv, alpha, beta, dt_bias, a, out_, slot_bytes, offset;
  uint n_head_k, n_head_v;
  float eps;
};
PUSH(Params);

shared float q[kDim];
shared float k[kDim];

// ln(1 + e^x) without overflow.
float softplus(float x) {
  return max(x, 0.0) + log(1.0 + exp(-abs(x)));
}

void main() {
  const uint thread = gl_LocalInvocationID.x;
  const uint head = gl_WorkGroupID.x;
  const uint key_head = head % p.n_head_k;
  const uint width = (2 * p.n_head_k + p.n_head_v) * kDim;
  for (uint seq = gl_WorkGroupID.y; seq < step.n_seq; seq += gl_NumWorkGroups.y) {
    F32 state = F32(step.state + U32(step.state_slot).at[seq] * p.slot_bytes + p.offset +
                    uint64_t(head * kDim * kDim) * 4);
    for (uint row = U32(step.seq_row).at[seq]; row < U32(step.seq_row).at[seq + 1]; ++row) {
      F32 in_q = F32(p.qkv + uint64_t(row * width + key_head * kDim) * 4);
      F32 in_k = F32(p.qkv + uint64_t(row * width + (p.n_head_k + key_head) * kDim) * 4);
      F32 in_v = F32(p.qkv + uint64_t(row * width + (2 * p.n_head_k + head) * kDim) * 4);
      float square_q = 0.0;
      float square_k = 0.0;
      for (uint i = thread; i < kDim; i += 64) {
        square_q += in_q.at[i] * in_q.at[i];
        square_k += in_k.at[i] * in_k.at[i];
      }
      const float scale_q = 1.0 / (sqrt(workgroup_sum(square_q) + p.eps) * sqrt(float(kDim)));
      const float scale_k = 1.0 / sqrt(workgroup_sum(square_k) + p.eps);
      barrier();
      for (uint i = thread; i < kDim; i += 64) {
        q[i] = in_q.at[i] * scale_q;
        k[i] = in_k.at[i] * scale_k;
      }
      barrier();
      const uint at = row * p.n_head_v + head;
      const float decay =
          exp(softplus(F32(p.alpha).at[at] + F32(p.dt_bias).at[head]) * F32(p.a).at[head]);
      const float beta = sigmoid_of(F32(p.beta).at[at]);
      for (uint j = thread; j < kDim; j += 64) {
        float known = 0.0;
        for (uint i = 0; i < kDim; ++i) {
          known += k[i] * state.at[i * kDim + j];
        }
        const float delta = beta * (in_v.at[j] - known * decay);
        float sum = 0.0;
        for (uint i = 0; i < kDim; ++i) {
          const float s = state.at[i * kDim + j] * decay + k[i] * delta;
          state.at[i * kDim + j] = s;
          sum += q[i] * s;
        }
        F32(p.out_).at[at * kDim + j] = sum;
      }
    }
  }
}
