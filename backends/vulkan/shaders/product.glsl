// What the two kernels of products share: parameters, batches and what happens to a finished sum.
// emit_products.cpp fills Params.

layout(constant_id = 1) const uint kTokens = 1;  // rows of x a workgroup takes
layout(constant_id = 2) const uint kBatch = 0;   // below
layout(constant_id = 3) const uint kWide = 0;    // 1: rows of x begin at multiples of 16 bytes

// What becomes of a sum (bias included). No constant: that would be a pipeline each for nothing.
const uint kStore = 0;       // out = sum
const uint kAccumulate = 1;  // out += sum
const uint kGate = 2;        // out = act(sum) * out: the gate of an FFN whose up stands in out
const uint kActivate = 3;    // out = act(sum)
const uint kLogits = 4;      // out = softcap(scale * sum)

// What gl_WorkGroupID.z counts.
const uint kOne = 0;      // nothing
const uint kHeads = 1;    // heads: weights, x and out move on
const uint kPairs = 2;    // (row, choice) pairs, one row of x each; the expert is ids[pair]
const uint kExperts = 3;  // experts: rows are the pairs of list[expert]

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Params {
  uint64_t x, weight, bias, out_;
  uint64_t ids;    // [pairs] expert
  uint64_t list;   // [n_expert + 1] where an expert's pairs begin, then the pairs
  uint64_t row_bytes;
  uint n_in, n_out;
  uint x_stride, out_stride;  // values from row to row
  uint row_set;
  uint n_used;      // pairs a row
  uint x_divisor;   // pair / x_divisor is the row of x
  uint n_expert;
  uint batch_rows;  // weight rows a batch element
  uint x_batch, out_batch;
  uint epilogue, act;
  float scale, softcap;
};
PUSH(Params);

struct Batch {
  uint64_t weight;  // address of the first weight row
  uint64_t bias;
  uint n_row;
  uint x_offset, out_offset;
  uint list_begin;
};

// False: nothing to do for this workgroup.
bool find_batch(out Batch b) {
  const uint z = gl_WorkGroupID.z;
  b.weight = p.weight;
  b.bias = p.bias;
  b.n_row = ALIVE(p.row_set);
  b.x_offset = 0;
  b.out_offset = 0;
  b.list_begin = 0;
  uint element = 0;
  if (kBatch == kHeads) {
    element = z;
    b.x_offset = z * p.x_batch;
    b.out_offset = z * p.out_batch;
  } else if (kBatch == kPairs) {
    if (z >= b.n_row * p.n_used) {
      return false;
    }
    element = uint(I32(p.ids).at[z]);
    if (element >= p.n_expert) {
      return false;
    }
    b.n_row = 1;
    b.x_offset = z / p.x_divisor * p.x_stride;
    b.out_offset = z * p.out_stride;
  } else if (kBatch == kExperts) {
    element = z;
    b.list_begin = U32(p.list).at[z];
    b.n_row = U32(p.list).at[z + 1] - b.list_begin;
  }
  b.weight += uint64_t(element) * p.batch_rows * p.row_bytes;
  if (b.bias != 0 && kBatch >= kPairs) {
    b.bias += uint64_t(element) * p.n_out * 4;
  }
  return b.n_row > 0;
}

uint pair_of(const Batch b, uint row) {
  return U32(p.list).at[p.n_expert + 1 + b.list_begin + row];
}
// Where row `row` of x and of out begin, in values.
uint x_at(const Batch b, uint row) {
  return kBatch == kExperts ? pair_of(b, row) / p.x_divisor * p.x_stride
                            : b.x_offset + row * p.x_stride;
}
uint out_at(const Batch b, uint row) {
  return kBatch == kExperts ? pair_of(b, row) * p.out_stride : b.out_offset + row * p.out_stride;
}

void finish(const Batch b, uint out_begin, uint o, float sum) {
  F32 to = F32(p.out_ + uint64_t(out_begin + o) * 4);
  if (b.bias != 0) {
    sum += F32(b.bias).at[o];
  }
  switch (p.epilogue) {
    case kStore:
      break;
    case kAccumulate:
      sum += to.at[0];
      break;
    case kGate:
      sum = gated(p.act, sum, to.at[0]);
      break;
    case kActivate:
      sum = activate(p.act, sum);
      break;
    case kLogits:
      sum = softcap_of(sum * p.scale, p.softcap);
      break;
  }
  to.at[0] = sum;
}
