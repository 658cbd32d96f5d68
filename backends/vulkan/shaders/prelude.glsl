// What every shader begins with: memory by address, what changes per step, and arithmetic that must
// agree with the reference.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_control_flow_attributes : require

layout(buffer_reference, std430, buffer_reference_align = 4) buffer F32 { float at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer F32x4 { vec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer I32 { int at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer U32 { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 2) buffer U16 { uint16_t at[]; };
layout(buffer_reference, std430, buffer_reference_align = 1) buffer U8 { uint8_t at[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer U64 { uint64_t at[]; };

// StepInput on the device: step_buffer.h. Arrays that no op reads have the address 0.
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Step {
  uint n_row, n_seq, n_out, n_group;
  uint64_t token, input_embd, pos, row_seq, row_kv, seq_row, kv_len, state_slot, page_begin,
      page_table, out_row, slab, slab_begin, slab_pages, state, grids;
};

const uint kPageTokens = 32;
const uint kNoPage = 0xffffffffu;
#define kNaN uintBitsToFloat(0x7fc00000u)

// Parameters of a dispatch have their own struct in each shader; all are reached from here.
#define PUSH(ParamsType)                 \
  layout(push_constant) uniform Push {   \
    ParamsType p;                        \
    Step step;                           \
  }

// Rows alive: RowSet of ops.h.
#define ALIVE(row_set) ((row_set) == 0 ? step.n_row : step.n_out)

float half_to_float(uint bits) {
  return unpackHalf2x16(bits & 0xffffu).x;
}

float bf16_to_float(uint bits) {
  return uintBitsToFloat(bits << 16);
}

// Round to nearest even by integers: packHalf2x16 leaves the rounding to the device.
uint float_to_half(float value) {
  const uint bits = floatBitsToUint(value);
  const uint sign = bits >> 16 & 0x8000u;
  const uint magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return sign | 0x7e00u | (magnitude >> 13 & 0x1ffu);
  }
  if (magnitude >= 0x477ff000u) {
    return sign | 0x7c00u;
  }
  if (magnitude < 0x38800000u) {  // below 2^-14: units of 2^-24
    const uint exponent = magnitude >> 23;
    if (exponent < 102) {
      return sign;
    }
    const uint mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const uint shift = 126 - exponent;
    const uint kept = mantissa >> shift;
    const uint rest = mantissa & ((1u << shift) - 1);
    const uint tie = 1u << (shift - 1);
    return sign | (kept + (rest > tie || (rest == tie && (kept & 1u) != 0) ? 1 : 0));
  }
  return sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
}

uint float_to_bf16(float value) {
  const uint bits = floatBitsToUint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return bits >> 16 | 0x40u;
  }
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// tanh by one exponential, safe at both ends. Near zero the difference cancels: the series.
float tanh_safe(float x) {
  if (abs(x) < 0.05) {
    const float s = x * x;
    return x * (1.0 - s * (1.0 / 3.0 - s * (2.0 / 15.0)));
  }
  return 1.0 - 2.0 / (exp(2.0 * clamp(x, -40.0, 40.0)) + 1.0);
}

// Error function: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26 (1.5e-7).
float erf_of(float x) {
  const float t = 1.0 / (1.0 + 0.3275911 * abs(x));
  const float poly =
      t * (0.254829592 +
           t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(x) * (1.0 - poly * exp(-x * x));
}

float sigmoid_of(float x) {
  return 1.0 / (1.0 + exp(-x));
}

// Activation of ops.h.
const uint kSilu = 0, kGeluTanh = 1, kGeluErf = 2, kSwigluClamped = 3, kSigmoid = 4, kIdentity = 5;

float activate(uint act, float x) {
  switch (act) {
    case kSilu:
      return x * sigmoid_of(x);
    case kGeluTanh:
      return 0.5 * x * (1.0 + tanh_safe(0.7978845608 * (x + 0.044715 * x * x * x)));
    case kGeluErf:
      return 0.5 * x * (1.0 + erf_of(x * 0.7071067812));
    case kSigmoid:
      return sigmoid_of(x);
    default:
      return x;
  }
}

float gated(uint act, float gate, float up) {
  if (act == kSwigluClamped) {
    const float g = min(gate, 7.0);
    return g * sigmoid_of(1.702 * g) * (clamp(up, -7.0, 7.0) + 1.0);
  }
  return activate(act, gate) * up;
}

float softcap_of(float value, float cap) {
  return cap > 0.0 ? cap * tanh_safe(value / cap) : value;
}
