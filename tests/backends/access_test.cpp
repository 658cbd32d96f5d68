// What `access` says of each op. That it is true is proved by every conformance case
// (tests/conformance/scene.h).
#include <algorithm>

#include <gtest/gtest.h>

#include "backends/ops.h"

namespace lm {
namespace LM_FILE {

TensorRef at(std::uint64_t offset) {
  return {DType::f32, kArena, offset, 1, 1};
}

bool has(const TensorRef* list, std::uint32_t n, std::uint64_t offset) {
  return std::any_of(list, list + n, [&](const TensorRef& t) { return t.offset == offset; });
}

TEST(Access, LeavesOutOptionsThatAreOff) {
  ops::Norm op;
  op.x = at(1);
  op.out = at(2);
  AccessSet set = access(op);
  EXPECT_EQ(set.n_reads, 1u);
  EXPECT_EQ(set.n_writes, 1u);
  op.weight = at(3);
  op.accumulate = true;
  set = access(op);
  EXPECT_EQ(set.n_reads, 3u);
  EXPECT_TRUE(has(set.reads, set.n_reads, 2));  // accumulating reads its own output
}

TEST(Access, NamesKvOfTheOpsThatTouchIt) {
  ops::RopeKvWrite write;
  write.kv.group = 3;
  EXPECT_FALSE(access(write).writes_kv);  // only q: another layer's cache is read
  EXPECT_EQ(access(write).step_arrays, step_array::pos);
  write.k = at(1);
  EXPECT_TRUE(access(write).writes_kv);
  EXPECT_FALSE(access(write).reads_kv);
  EXPECT_EQ(access(write).kv.group, 3u);
  ops::Attention read;
  EXPECT_TRUE(access(read).reads_kv);
  EXPECT_FALSE(access(read).writes_kv);
  EXPECT_FALSE(access(ops::MatMul{}).reads_kv || access(ops::MatMul{}).writes_kv);
}

TEST(Access, NamesStateOfTheOpsThatKeepOne) {
  ops::CausalConv conv;
  conv.state = {256, 64, 128};
  const AccessSet set = access(conv);
  EXPECT_TRUE(set.uses_state);
  EXPECT_EQ(set.state.offset, 64u);
  EXPECT_EQ(set.step_arrays, step_array::seq_row | step_array::state_slot);
  EXPECT_TRUE(access(ops::DeltaNet{}).uses_state);
  EXPECT_FALSE(access(ops::MatMul{}).uses_state);
}

TEST(Access, NamesStepArraysPerOp) {
  EXPECT_EQ(access(ops::Embed{}).step_arrays, step_array::token | step_array::input_embd);
  ops::Embed other;
  other.takes_input = false;
  other.positions = at(1);
  EXPECT_EQ(access(other).step_arrays, step_array::token | step_array::pos);
  EXPECT_EQ(access(ops::GatherRows{}).step_arrays, step_array::out_row);
  EXPECT_EQ(access(ops::MatMul{}).step_arrays, 0u);
  EXPECT_NE(access(ops::Attention{}).step_arrays & step_array::pages, 0u);
}

TEST(Access, CountsEveryTensorOfTheWidestOp) {
  ops::QkvMatMul op;
  op.x = at(1);
  op.wq = at(2), op.wk = at(3), op.wv = at(4);
  op.bq = at(5), op.bk = at(6), op.bv = at(7);
  op.q = at(8), op.k = at(9), op.v = at(10);
  const AccessSet set = access(op);
  EXPECT_EQ(set.n_reads, 7u);
  EXPECT_EQ(set.n_writes, 3u);
  ops::MoeFfn experts;
  std::uint64_t n = 0;
  Op any = experts;
  for_each_tensor(any, [&](TensorRef& t) { t = at(++n); });
  std::get<ops::MoeFfn>(any).accumulate = true;
  EXPECT_EQ(access(any).n_reads, n);
  EXPECT_EQ(access(any).n_writes, 1u);
}

}  // namespace LM_FILE
}  // namespace lm
