// What ops must read and compute, against numbers worked out by hand.
#include "backends/op_work.h"

#include <gtest/gtest.h>

namespace lm {
namespace LM_FILE {

TensorRef weight(DType type, std::uint32_t rows, std::uint32_t cols) {
  return {.dtype = type, .buffer = 1, .offset = 0, .rows = rows, .cols = cols};
}

/// Two sequences: three new rows after five old tokens, one row after none.
struct TwoSequences {
  std::uint32_t seq_row[3] = {0, 3, 4};
  std::uint32_t row_kv[4] = {5, 6, 7, 0};
  std::uint32_t kv_len[2] = {8, 1};
  StepInput step;
  TwoSequences() {
    step.n_row = 4;
    step.n_seq = 2;
    step.n_out = 2;
    step.seq_row = seq_row;
    step.row_kv = row_kv;
    step.kv_len = kv_len;
  }
};

TEST(OpWork, ProductsReadTheirWeightsOnce) {
  const TwoSequences two;
  ops::MatMul product;
  product.weight = weight(DType::q8_0, 10, 64);
  OpWork work = op_work(product, two.step);
  EXPECT_EQ(work.weight_bytes, 10 * 2 * 34);
  EXPECT_EQ(work.quant_flops, 2.0 * 4 * 10 * 64);
  EXPECT_EQ(work.float_flops, 0);
  product.rows = RowSet::outputs;
  product.weight = weight(DType::f16, 10, 64);
  work = op_work(product, two.step);
  EXPECT_EQ(work.weight_bytes, 10 * 64 * 2);
  EXPECT_EQ(work.float_flops, 2.0 * 2 * 10 * 64);
  EXPECT_EQ(work.quant_flops, 0);

  ops::GatedFfn ffn;
  ffn.w_gate = ffn.w_up = weight(DType::q8_0, 10, 64);
  EXPECT_EQ(op_work(ffn, two.step).quant_flops, 2 * 2.0 * 4 * 10 * 64);
  ffn.w_gate = {};
  EXPECT_EQ(op_work(ffn, two.step).quant_flops, 2.0 * 4 * 10 * 64);

  ops::Embed embed;
  embed.table = weight(DType::f16, 1000, 64);
  work = op_work(embed, two.step);
  EXPECT_EQ(work.weight_bytes, 4 * 64 * 2);
  EXPECT_EQ(work.flops(), 0);
  EXPECT_EQ(op_work(ops::Norm{}, two.step).bytes(), 0);
}

TEST(OpWork, AttentionReadsWhatItsRowsSee) {
  const TwoSequences two;
  ops::Attention attention;
  attention.n_head = 6;
  attention.kv = {.dtype = DType::f16, .n_head_kv = 2, .head_dim_k = 32, .head_dim_v = 64};
  OpWork work = op_work(attention, two.step);
  EXPECT_EQ(work.kv_bytes, (8.0 + 1) * 2 * (32 + 64) * 2);
  EXPECT_EQ(work.float_flops, (6.0 + 7 + 8 + 1) * 6 * 2 * (32 + 64));

  attention.window = 4;
  work = op_work(attention, two.step);
  EXPECT_EQ(work.kv_bytes, (6.0 + 1) * 2 * (32 + 64) * 2);  // indices 2 to 7, and 0
  EXPECT_EQ(work.float_flops, (4.0 * 3 + 1) * 6 * 2 * (32 + 64));

  attention.window = 0;
  attention.causal = false;
  work = op_work(attention, two.step);
  EXPECT_EQ(work.float_flops, (8.0 * 3 + 1) * 6 * 2 * (32 + 64));

  attention.kv.v_in_k = true;
  attention.kv.head_dim_v = 16;
  EXPECT_EQ(op_work(attention, two.step).kv_bytes, (8.0 + 1) * 2 * 32 * 2);
}

TEST(OpWork, ExpertsAreThoseThatRowsChoose) {
  TwoSequences two;
  ops::MoeFfn moe;
  moe.n_expert = 8;
  moe.n_ff = 32;
  moe.x = {.dtype = DType::f32, .buffer = 0, .offset = 0, .rows = 16, .cols = 64};
  moe.ids = {.dtype = DType::i32, .buffer = 0, .offset = 0, .rows = 16, .cols = 2};
  moe.w_gate = moe.w_up = weight(DType::q8_0, 8 * 32, 64);
  moe.w_down = weight(DType::q8_0, 8 * 64, 32);
  two.step.n_row = 1;
  OpWork work = op_work(moe, two.step);
  const double expert = 2 * 32 * 68 + 64 * 34;
  EXPECT_DOUBLE_EQ(work.weight_bytes, 2 * expert);
  EXPECT_DOUBLE_EQ(work.quant_flops, 2.0 * 2 * 3 * 64 * 32);
  two.step.n_row = 1000;
  work = op_work(moe, two.step);
  EXPECT_NEAR(work.weight_bytes, 8 * expert, 1.0);
  EXPECT_NEAR(work.quant_flops, 1000.0 * 2 * 2 * 3 * 64 * 32, 1.0);
}

TEST(OpWork, StatesAreReadAndWritten) {
  const TwoSequences two;
  ops::DeltaNet delta;
  delta.n_head_v = 4;
  delta.head_dim = 16;
  delta.state = {.slot_bytes = 8192, .offset = 0, .bytes = 4096};
  const OpWork work = op_work(delta, two.step);
  EXPECT_EQ(work.kv_bytes, 2.0 * 2 * 4096);
  EXPECT_EQ(work.float_flops, 7.0 * 4 * 4 * 16 * 16);
}

}  // namespace LM_FILE
}  // namespace lm
