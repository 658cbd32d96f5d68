// The choice of experts, a workgroup a row. Without bias and groups the choice is by the logits
// themselves, which order experts as their probabilities do, without a rounding.
#include "prelude.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const uint kGating = 0;  // ExpertGating of ops.h

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t logits, bias, expert_scale, ids, weights;
  uint n_expert, n_used, n_group, n_group_used;
  uint normalize, row_set;
  float scale;
};
PUSH(Params);

const uint kSoftmax = 0, kSigmoidGate = 1, kSoftmaxChosen = 2;
const uint kMaxExperts = 1024;
const uint kNone = 0xffffffffu;
const float kLeastSum = 0.00006103515625;  // 2^-14

shared float prob[kMaxExperts];
shared float choice[kMaxExperts];
shared uint taken[kMaxExperts];
shared float part[64];
shared uint best_of[64];
shared float group_score[kMaxExperts];

bool better(uint a, uint b) {
  return b == kNone || choice[a] > choice[b];
}

// Best of the experts that are not taken, of equals the lowest; in every invocation.
uint best_expert() {
  const uint thread = gl_LocalInvocationID.x;
  uint best = kNone;
  for (uint e = thread; e < p.n_expert; e += 64) {
    if (taken[e] == 0 && better(e, best)) {
      best = e;
    }
  }
  barrier();
  best_of[thread] = best;
  barrier();
  best = kNone;
  for (uint i = 0; i < 64; ++i) {
    const uint e = best_of[i];
    if (e != kNone && (better(e, best) || (!(choice[best] > choice[e]) && e < best))) {
      best = e;
    }
  }
  return best;
}

void leave_groups() {
  const uint size = p.n_expert / p.n_group;
  for (uint g = gl_LocalInvocationID.x; g < p.n_group; g += 64) {
    float first = -3.0e38;
    float second = -3.0e38;
    for (uint i = 0; i < size; ++i) {
      const float c = choice[g * size + i];
      if (c > first) {
        second = first;
        first = c;
      } else if (c > second) {
        second = c;
      }
    }
    group_score[g] = size == 1 ? first : first + second;
  }
  for (uint e = gl_LocalInvocationID.x; e < p.n_expert; e += 64) {
    taken[e] = 1;
  }
  barrier();
  if (gl_LocalInvocationID.x == 0) {
    for (uint k = 0; k < p.n_group_used; ++k) {
      uint best = kNone;
      for (uint g = 0; g < p.n_group; ++g) {
        if (taken[g * size] != 0 && (best == kNone || group_score[g] > group_score[best])) {
          best = g;
        }
      }
      for (uint i = 0; i < size; ++i) {
        taken[best * size + i] = 0;
      }
    }
  }
  barrier();
}

void main() {
  const uint row = gl_WorkGroupID.x;
  if (row >= ALIVE(p.row_set)) {
    return;
  }
  const uint thread = gl_LocalInvocationID.x;
  F32 logits = F32(p.logits + uint64_t(row * p.n_expert) * 4);

  float top = -3.0e38;
  for (uint e = thread; e < p.n_expert; e += 64) {
    top = max(top, logits.at[e]);
  }
  part[thread] = top;
  barrier();
  for (uint i = 0; i < 64; ++i) {
    top = max(top, part[i]);
  }
  barrier();
  const bool by_logits = p.bias == 0 && p.n_group_used == p.n_group;
  float sum = 0.0;
  for (uint e = thread; e < p.n_expert; e += 64) {
    const float l = logits.at[e];
    prob[e] = kGating == kSoftmax ? exp(l - top) : kGating == kSigmoidGate ? sigmoid_of(l) : l;
    sum += prob[e];
    taken[e] = 0;
  }
  part[thread] = sum;
  barrier();
  sum = 0.0;
  for (uint i = 0; i < 64; ++i) {
    sum += part[i];
  }
  for (uint e = thread; e < p.n_expert; e += 64) {
    if (kGating == kSoftmax) {
      prob[e] /= sum;
    }
    choice[e] = by_logits ? logits.at[e] : prob[e] + (p.bias != 0 ? F32(p.bias).at[e] : 0.0);
  }
  barrier();
  if (p.n_group_used < p.n_group) {
    leave_groups();
  }

  I32 ids = I32(p.ids + uint64_t(row * p.n_used) * 4);
  F32 weights = F32(p.weights + uint64_t(row * p.n_used) * 4);
  for (uint k = 0; k < p.n_used; ++k) {
    const uint e = best_expert();
    barrier();
    if (thread == 0) {
      taken[e] = 1;
      best_of[0] = e;
      ids.at[k] = int(e);
      weights.at[k] = prob[e];
    }
    barrier();
  }
  if (thread != 0) {
    return;
  }
  if (kGating == kSoftmaxChosen) {
    float highest = -3.0e38;
    for (uint k = 0; k < p.n_used; ++k) {
      highest = max(highest, weights.at[k]);
    }
    float all = 0.0;
    for (uint k = 0; k < p.n_used; ++k) {
      weights.at[k] = exp(weights.at[k] - highest);
      all += weights.at[k];
    }
    for (uint k = 0; k < p.n_used; ++k) {
      weights.at[k] /= all;
    }
  }
  float all = 0.0;
  for (uint k = 0; k < p.n_used; ++k) {
    all += weights.at[k];
  }
  const float factor = p.normalize != 0 ? p.scale / max(all, kLeastSum) : p.scale;
  for (uint k = 0; k < p.n_used; ++k) {
    const float of_expert = p.expert_scale != 0 ? F32(p.expert_scale).at[ids.at[k]] : 1.0;
    weights.at[k] *= factor * of_expert;
  }
}
