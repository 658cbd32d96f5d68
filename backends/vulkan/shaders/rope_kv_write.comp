// Norm and rotation of one head of one row; k and v go into their page. Heads are counted by
// gl_WorkGroupID.y: those of q, then of k, then of v.
#include "prelude.glsl"

layout(local_size_x_id = 0) in;
#include "reduce.glsl"
layout(constant_id = 1) const uint kKvType = 1;
layout(constant_id = 2) const uint kRope = 0;  // RopeKind of ops.h
layout(constant_id = 3) const uint kMaxDim = 128;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t q, k, v, q_norm, k_norm, inv_freq;
  uint64_t page_bytes, k_offset, v_offset, k_tile, v_tile, k_row, v_row;
  uint n_head, n_head_kv, dim_k, dim_v;
  uint n_rot, rot_begin, group, v_norm;
  float norm_eps, magnitude, temperature, temperature_length;
};
PUSH(Params);
#include "pages.glsl"

shared float head[kMaxDim];

// Cosine and sine of position * frequency. The product is formed in integers, as turns: 1 / (2 pi)
// in 64 binary places times position times the frequency's mantissa, so that large positions keep
// their turn without double precision. Polynomials: Taylor series on an eighth of a turn.
vec2 turn(int position, float frequency) {
  const uint bits = floatBitsToUint(frequency);
  const int exponent = int(bits >> 23 & 255u) - 150;  // frequency = mantissa * 2^exponent
  const uint mantissa = (bits & 0x7fffffu) | 0x800000u;
  uint fraction;  // of a turn, in 2^-32
  if (exponent < -64 || exponent > 0) {
    // So slow that a float holds the product exactly enough.
    const float turns = abs(float(position)) * abs(frequency) * 0.15915494309;
    fraction = uint(fract(turns) * 4294967040.0);
  } else {
    const uint64_t product = uint64_t(uint(abs(position))) * mantissa;
    const uint64_t a1 = product >> 32;
    const uint64_t a0 = product & 0xffffffffUL;
    const uint64_t c1 = 0x28be60dbUL;  // 2^64 / (2 pi)
    const uint64_t c0 = 0x9391054aUL;
    const uint64_t low = a0 * c0;
    const uint64_t mid = (low >> 32) + (a0 * c1 & 0xffffffffUL) + (a1 * c0 & 0xffffffffUL);
    const uint64_t bottom = mid << 32 | (low & 0xffffffffUL);
    const uint64_t top = a1 * c1 + (a0 * c1 >> 32) + (a1 * c0 >> 32) + (mid >> 32);
    // The product is (top : bottom) * 2^(exponent - 64): drop 32 - exponent bits.
    const int drop = 32 - exponent;
    fraction = drop >= 64 ? uint(top >> (drop - 64))
                          : uint(bottom >> drop | top << (64 - drop));
  }
  if ((position < 0) != (frequency < 0.0)) {
    fraction = ~fraction + 1u;
  }
  const uint eighth = fraction + 0x20000000u;
  const uint quadrant = eighth >> 30;
  const float x = float(int((eighth & 0x3fffffffu) - 0x20000000u)) * 1.4629180792671596e-9;
  const float s = x * x;
  const float sine = x * (1.0 + s * (-1.6666666667e-1 + s * (8.3333333333e-3 +
                     s * (-1.9841269841e-4 + s * 2.7557319224e-6))));
  const float cosine = 1.0 + s * (-0.5 + s * (4.1666666667e-2 +
                       s * (-1.3888888889e-3 + s * 2.4801587302e-5)));
  switch (quadrant) {
    case 0:
      return vec2(cosine, sine);
    case 1:
      return vec2(-sine, cosine);
    case 2:
      return vec2(-cosine, -sine);
    default:
      return vec2(sine, -cosine);
  }
}

void normalise(uint dim, uint64_t weight) {
  float square = 0.0;
  for (uint i = gl_LocalInvocationID.x; i < dim; i += gl_WorkGroupSize.x) {
    square += head[i] * head[i];
  }
  const float factor = 1.0 / sqrt(workgroup_sum(square) / float(dim) + p.norm_eps);
  for (uint i = gl_LocalInvocationID.x; i < dim; i += gl_WorkGroupSize.x) {
    head[i] *= factor * (weight != 0 ? F32(weight).at[i] : 1.0);
  }
  barrier();
}

void rotate(int position) {
  const uint pairs = p.n_rot / 2;
  for (uint j = gl_LocalInvocationID.x; j < pairs; j += gl_WorkGroupSize.x) {
    const vec2 cs = turn(position, F32(p.inv_freq).at[j]) * p.magnitude;
    const uint at = p.rot_begin + (kRope == 1 ? 2 * j : j);
    const uint other = kRope == 1 ? at + 1 : at + pairs;
    const float x = head[at];
    const float y = head[other];
    head[at] = x * cs.x - y * cs.y;
    head[other] = x * cs.y + y * cs.x;
  }
  barrier();
}

// NaN gives 0, as everywhere.
int to_int(float value, float low, float high) {
  return isnan(value) ? 0 : int(clamp(value, low, high));
}

void store_row(uint64_t row, uint dim) {
  if (kKvType == kKvF32 || kKvType == kKvF16 || kKvType == kKvBf16) {
    for (uint i = gl_LocalInvocationID.x; i < dim; i += gl_WorkGroupSize.x) {
      if (kKvType == kKvF32) {
        F32(row).at[i] = head[i];
      } else {
        U16(row).at[i] =
            uint16_t(kKvType == kKvF16 ? float_to_half(head[i]) : float_to_bf16(head[i]));
      }
    }
    return;
  }
  for (uint block = gl_LocalInvocationID.x; block < dim / 32; block += gl_WorkGroupSize.x) {
    const uint first = 32 * block;
    float largest = 0.0;
    for (uint i = 0; i < 32; ++i) {
      largest = abs(head[first + i]) > abs(largest) ? head[first + i] : largest;
    }
    const float d = kKvType == kKvQ8_0 ? abs(largest) / 127.0 : largest / -8.0;
    const float inverse = d != 0.0 ? 1.0 / d : 0.0;
    if (kKvType == kKvQ8_0) {
      const uint64_t to = row + uint64_t(block * 34);
      U16(to).at[0] = uint16_t(float_to_half(d));
      for (uint i = 0; i < 32; ++i) {
        const float scaled = head[first + i] * inverse;
        const int rounded = to_int(sign(scaled) * floor(abs(scaled) + 0.5), -127.0, 127.0);
        U8(to + 2 + i).at[0] = uint8_t(uint(rounded) & 255u);
      }
    } else {
      const uint64_t to = row + uint64_t(block * 18);
      U16(to).at[0] = uint16_t(float_to_half(d));
      for (uint i = 0; i < 16; ++i) {
        const int low = to_int(head[first + i] * inverse + 8.5, 0.0, 15.0);
        const int high = to_int(head[first + 16 + i] * inverse + 8.5, 0.0, 15.0);
        U8(to + 2 + i).at[0] = uint8_t(uint(low | high << 4));
      }
    }
  }
}

void main() {
  const uint row = gl_WorkGroupID.x;
  if (row >= step.n_row) {
    return;
  }
  const uint unit = gl_WorkGroupID.y;
  const bool is_q = unit < p.n_head;
  const bool is_k = !is_q && unit < p.n_head + p.n_head_kv;
  const uint h = is_q ? unit : is_k ? unit - p.n_head : unit - p.n_head - p.n_head_kv;
  const uint dim = is_q || is_k ? p.dim_k : p.dim_v;
  const uint n_head = is_q ? p.n_head : p.n_head_kv;
  const uint64_t source = (is_q ? p.q : is_k ? p.k : p.v) + uint64_t((row * n_head + h) * dim) * 4;
  const uint64_t norm = is_q ? p.q_norm : is_k ? p.k_norm : 0UL;
  const int position = I32(step.pos).at[row];
  for (uint i = gl_LocalInvocationID.x; i < dim; i += gl_WorkGroupSize.x) {
    head[i] = F32(source).at[i];
  }
  barrier();
  if (norm != 0 || (!is_q && !is_k && p.v_norm != 0)) {
    normalise(dim, norm);
  }
  if (kRope != 0 && (is_q || is_k)) {
    rotate(position);
  }
  if (is_q) {
    float factor = 1.0;
    if (p.temperature != 0.0) {
      const bool whole = fract(p.temperature_length) == 0.0 && position >= 0;
      const float turns = whole ? float(uint(position) / uint(p.temperature_length))
                                : floor(float(position) / p.temperature_length);
      factor = 1.0 + p.temperature * log(turns + 1.0);
    }
    for (uint i = gl_LocalInvocationID.x; i < dim; i += gl_WorkGroupSize.x) {
      F32(source).at[i] = head[i] * factor;
    }
    return;
  }
  const uint at = U32(step.row_kv).at[row];
  const uint page = page_of(p.group, U32(step.row_seq).at[row], at / kPageTokens);
  if (page == kNoPage) {
    return;
  }
  const uint64_t tile = page_address(p.group, page, p.page_bytes) +
                        (is_k ? p.k_offset + h * p.k_tile : p.v_offset + h * p.v_tile);
  store_row(tile + (at % kPageTokens) * (is_k ? p.k_row : p.v_row), dim);
}
