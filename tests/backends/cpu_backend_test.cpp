#include "backends/cpu/cpu_backend.h"

#include <cstring>
#include <numeric>
#include <thread>

#include <gtest/gtest.h>

#include "backends/reference/dequant.h"
#include "backends/reference/reference_backend.h"

namespace lm {
namespace LM_FILE {

std::unique_ptr<Backend> cpu(unsigned threads = 2) {
  return make_cpu_backend({.n_threads = threads, .isa_limit = {}});
}

std::vector<std::byte> numbered(std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) {
    bytes[i] = static_cast<std::byte>(i * 37 + i / 256);
  }
  return bytes;
}

TEST(CpuBackend, GivesZeroedAlignedMemoryOfAnySize) {
  const auto backend = cpu();
  for (const std::uint64_t size : {0ull, 1ull, 4096ull, (1ull << 20) - 1, 1ull << 20, 5ull << 20}) {
    auto buffer = backend->alloc(size);
    ASSERT_TRUE(buffer);
    EXPECT_EQ((*buffer)->size(), size);
    EXPECT_EQ((*buffer)->address() % 64, 0u);
    EXPECT_EQ((*buffer)->address(), reinterpret_cast<std::uint64_t>((*buffer)->host()));
    for (std::uint64_t i = 0; i < size; i += 997) {
      ASSERT_EQ((*buffer)->host()[i], std::byte{0});
    }
  }
}

TEST(CpuBackend, RefusesMoreMemoryThanTheSystemHas) {
  const auto backend = cpu(1);
  const std::uint64_t all = backend->info().total_bytes;
  ASSERT_GT(all, 0u);
  for (const std::uint64_t wanted : {all * 2, std::uint64_t{1} << 62}) {
    const auto buffer = backend->alloc(wanted);
    ASSERT_FALSE(buffer);
    EXPECT_EQ(buffer.error().code, ErrorCode::out_of_memory);
    EXPECT_NE(buffer.error().problem.find(std::to_string(wanted)), std::string::npos);
    EXPECT_FALSE(buffer.error().hint.empty());
  }
}

TEST(CpuBackend, ImportsWithoutACopy) {
  const std::vector<std::byte> bytes = numbered(1000);
  auto buffer = cpu(1)->import(bytes);
  ASSERT_TRUE(buffer);
  EXPECT_EQ((*buffer)->host(), bytes.data());
  EXPECT_EQ((*buffer)->size(), 1000u);
}

TEST(CpuBackend, TransfersBytesAndRefusesRangesOutsideOfBuffers) {
  const auto backend = cpu(1);
  auto a = backend->alloc(100);
  auto b = backend->alloc(50);
  ASSERT_TRUE(a && b);
  const std::vector<std::byte> bytes = numbered(30);
  EXPECT_TRUE(backend->upload(**a, 70, bytes));
  EXPECT_TRUE(backend->copy(**a, 70, **b, 20, 30));
  EXPECT_TRUE(backend->copy(**b, 20, **b, 25, 25));  // overlapping
  std::vector<std::byte> back(25);
  EXPECT_TRUE(backend->download(**b, 25, back));
  EXPECT_EQ(back, std::vector<std::byte>(bytes.begin(), bytes.begin() + 25));
  EXPECT_TRUE(backend->upload(**a, 100, {}));

  EXPECT_EQ(backend->upload(**a, 71, bytes).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(backend->upload(**a, ~std::uint64_t{0}, bytes).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(backend->download(**b, 26, back).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(backend->copy(**a, 0, **b, 21, 30).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(backend->copy(**a, 71, **b, 0, 30).error().code, ErrorCode::invalid_argument);
}

// --- KV pages as plain rows ---

TEST(CpuBackend, GivesBackKvPagesAsThePlainRowsTheyWereWrittenFrom) {
  const auto kinds = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};
  for (const DType dtype : kinds) {
    for (const std::uint32_t dim : {32u, 64u, 96u, 128u, 576u, 20u}) {
      if (dim % layout(dtype).block_elems != 0) {
        continue;
      }
      KvRef kv;
      kv.v_in_k = dim == 576;
      kv.dtype = dtype;
      kv.n_head_kv = 3;
      kv.head_dim_k = dim;
      kv.head_dim_v = 32;
      kv.k_offset = 64;
      kv.v_offset = 64 + 3 * kv.k_tile_bytes();
      kv.page_bytes = kv.v_offset + 3 * kv.v_tile_bytes() + 128;
      for (const auto& backend : {cpu(1), make_reference_backend()}) {
        auto slab = backend->alloc(2 * kv.page_bytes);
        ASSERT_TRUE(slab);
        const std::vector<std::byte> k = numbered(3 * kv.k_tile_bytes());
        const std::vector<std::byte> v = numbered(3 * kv.v_tile_bytes());
        ASSERT_TRUE(backend->write_kv(**slab, kv.page_bytes, kv, k, v));
        std::vector<std::byte> k_back(k.size());
        std::vector<std::byte> v_back(v.size());
        ASSERT_TRUE(backend->read_kv(**slab, kv.page_bytes, kv, k_back, v_back));
        EXPECT_EQ(k_back, k) << layout(dtype).name << " " << dim;
        EXPECT_EQ(v_back, v);
        // The first page and everything around the layer stays as it was.
        const std::byte* host = (*slab)->host();
        for (std::uint64_t i = 0; i < 2 * kv.page_bytes; ++i) {
          const bool inside = i >= kv.page_bytes + 64 && i < 2 * kv.page_bytes - 128;
          ASSERT_TRUE(inside || host[i] == std::byte{0}) << i;
        }
      }
    }
  }
}

TEST(CpuBackend, RefusesKvRowsOfWrongSizeAndPagesOutsideOfTheSlab) {
  KvRef kv;
  kv.dtype = DType::f16;
  kv.n_head_kv = 2;
  kv.head_dim_k = kv.head_dim_v = 16;
  kv.v_offset = 2 * kv.k_tile_bytes();
  kv.page_bytes = 2 * kv.v_offset;
  for (const auto& backend : {cpu(1), make_reference_backend()}) {
    auto slab = backend->alloc(kv.page_bytes);
    ASSERT_TRUE(slab);
    std::vector<std::byte> rows(2 * kv.k_tile_bytes());
    std::vector<std::byte> few(rows.size() - 1);
    EXPECT_TRUE(backend->read_kv(**slab, 0, kv, rows, rows));
    EXPECT_EQ(backend->read_kv(**slab, 0, kv, few, rows).error().code, ErrorCode::shape_mismatch);
    EXPECT_EQ(backend->write_kv(**slab, 0, kv, rows, few).error().code, ErrorCode::shape_mismatch);
    EXPECT_EQ(backend->read_kv(**slab, 1, kv, rows, rows).error().code,
              ErrorCode::invalid_argument);
    EXPECT_EQ(backend->read_kv(**slab, ~std::uint64_t{0}, kv, rows, rows).error().code,
              ErrorCode::invalid_argument);
  }
}

// --- compiling ---

struct Bench {
  explicit Bench(std::unique_ptr<Backend> of)
      : backend(std::move(of)), arena(*backend->alloc(1 << 16)) {}

  Result<std::unique_ptr<Executable>> compile(const Segment& segment, std::uint32_t rows = 4) {
    scratch = *backend->alloc(backend->scratch_bytes(segment, rows, rows));
    buffers[0] = arena.get();
    CompileRequest request;
    request.segment = &segment;
    request.buffers = buffers;
    request.scratch = scratch.get();
    request.max_rows = rows;
    request.max_outputs = rows;
    return backend->compile(request);
  }

  std::unique_ptr<Backend> backend;
  std::unique_ptr<Buffer> arena;
  std::unique_ptr<Buffer> scratch;
  Buffer* buffers[2] = {};
};

TensorRef arena_f32(std::uint64_t offset, std::uint32_t rows, std::uint32_t cols) {
  return {DType::f32, kArena, offset, rows, cols};
}

ops::MatMul good_matmul() {
  ops::MatMul op;
  op.x = arena_f32(0, 4, 32);
  op.weight = arena_f32(1024, 8, 32);
  op.out = arena_f32(4096, 4, 8);
  return op;
}

ops::MoeFfn good_experts() {
  ops::MoeFfn op;
  op.x = arena_f32(0, 4, 32);
  op.ids = {DType::i32, kArena, 512, 4, 2};
  op.weights = arena_f32(544, 4, 2);
  op.w_gate = op.w_up = arena_f32(1024, 3 * 8, 32);
  op.w_down = arena_f32(8192, 3 * 32, 8);
  op.out = arena_f32(4096, 4, 32);
  op.n_expert = 3;
  op.n_ff = op.expert_stride = 8;
  return op;
}

ops::MoeRoute good_route() {
  ops::MoeRoute op;
  op.logits = arena_f32(0, 4, 8);
  op.ids = {DType::i32, kArena, 512, 4, 2};
  op.weights = arena_f32(544, 4, 2);
  return op;
}

ops::CausalConv good_conv() {
  ops::CausalConv op;
  op.x = arena_f32(0, 4, 8);
  op.weight = arena_f32(1024, 8, 3);
  op.out = arena_f32(4096, 4, 8);
  op.state = {128, 64, 64};
  return op;
}

ops::HeadMatMul good_heads() {
  ops::HeadMatMul op;
  op.n_head = 2;
  op.x_width = 8;
  op.out_width = 5;
  op.x = arena_f32(0, 4, 16);
  op.weight = arena_f32(1024, 2 * 4, 6);
  op.out = arena_f32(4096, 4, 10);
  return op;
}

ops::CopyCols good_copy() {
  ops::CopyCols op;
  op.groups = 2;
  op.x_width = op.out_width = 8;
  op.n = 4;
  op.x = arena_f32(0, 4, 8);
  op.out = arena_f32(4096, 4, 16);
  return op;
}

using WrongOps = std::vector<std::pair<Op, const char*>>;

void add_wrong_experts(WrongOps& wrong) {
  ops::MoeFfn experts = good_experts();
  experts.w_up.rows = 23;
  wrong.emplace_back(experts, "w_gate or w_up ends before its last expert");
  experts = good_experts();
  experts.expert_stride = 7;
  wrong.emplace_back(experts, "expert_stride is below n_ff");
  experts = good_experts();
  experts.w_down.rows = 95;
  wrong.emplace_back(experts, "w_down has 95 rows, expected 96");
  experts = good_experts();
  experts.ids.dtype = DType::f32;
  wrong.emplace_back(experts, "ids has type F32, expected I32");
  experts = good_experts();
  experts.b_down = arena_f32(0, 2, 32);
  wrong.emplace_back(experts, "a bias has not one row an expert");
  experts = good_experts();
  experts.w_gate = {};
  experts.act = Activation::swiglu_clamped;
  wrong.emplace_back(experts, "swiglu_clamped needs a gate");
  experts = good_experts();
  experts.ids.offset = 514;
  wrong.emplace_back(experts, "I32 values at odd offset 514");
  ops::MoeRoute route = good_route();
  route.ids.cols = route.weights.cols = 9;
  wrong.emplace_back(route, "uses no experts or more than its groups have");
  route = good_route();
  route.n_group = 3;
  wrong.emplace_back(route, "n_group does not divide the experts");
  route = good_route();
  route.n_group = 8;
  wrong.emplace_back(route, "uses no experts or more than its groups have");
  route = good_route();
  route.logits.cols = kMaxExperts + 1;
  wrong.emplace_back(route, "has no experts or more than");
}

void add_wrong_newer_ops(WrongOps& wrong) {
  add_wrong_experts(wrong);
  ops::CausalConv conv = good_conv();
  conv.state.bytes = 60;
  wrong.emplace_back(conv, "state has 60 bytes, expected 64");
  conv = good_conv();
  conv.state.offset = 68;
  wrong.emplace_back(conv, "leaves its slot of 128");
  conv = good_conv();
  conv.out = conv.x;
  wrong.emplace_back(conv, "out is x");
  conv = good_conv();
  conv.weight.rows = 7;
  wrong.emplace_back(conv, "weight has not one row a column of out");
  ops::HeadMatMul heads = good_heads();
  heads.x_width = 5;
  heads.x.cols = 10;
  wrong.emplace_back(heads, "x_width is below the weight's columns");
  heads = good_heads();
  heads.weight.rows = 9;
  wrong.emplace_back(heads, "weight has 9 rows, expected 8");
  heads = good_heads();
  heads.out_width = 3;
  heads.out.cols = 6;
  wrong.emplace_back(heads, "out_width is below the weight's rows a head");
  ops::CopyCols copy = good_copy();
  copy.x_begin = 5;
  wrong.emplace_back(copy, "reads beyond x_width");
  copy = good_copy();
  copy.out_begin = 0xfffffffe;
  wrong.emplace_back(copy, "writes beyond out_width");
  copy = good_copy();
  copy.groups = 4;
  copy.x_groups = 2;
  wrong.emplace_back(copy, "x_groups is neither 1 nor groups");
  ops::DeltaNet delta;
  delta.n_head_k = 2;
  delta.n_head_v = 3;
  delta.head_dim = 4;
  wrong.emplace_back(delta, "value heads do not divide into key heads");
  ops::Norm norm;
  norm.x = norm.out = arena_f32(0, 4, 32);
  norm.group = 5;
  wrong.emplace_back(norm, "group does not divide the row");
  ops::Mul mul;
  mul.b = mul.out = arena_f32(0, 4, 32);
  mul.a = arena_f32(4096, 4, 2);
  wrong.emplace_back(mul, "a has 2 columns, expected 32");
}

/// Shapes come from files in the end; a mismatch that slipped through must not become a wild
/// access.
TEST(Compile, RefusesShapesThatDoNotFit) {
  WrongOps wrong;
  ops::MatMul op = good_matmul();
  op.weight.cols = 64;
  wrong.emplace_back(op, "weight has 64 columns, expected 32");
  op = good_matmul();
  op.out.cols = 9;
  wrong.emplace_back(op, "weight has 8 rows, expected 9");
  op = good_matmul();
  op.out.dtype = DType::f16;
  wrong.emplace_back(op, "out has type F16, expected F32");
  op = good_matmul();
  op.bias = arena_f32(0, 1, 7);
  wrong.emplace_back(op, "bias has 7 columns, expected 8");
  op = good_matmul();
  op.weight = {};
  wrong.emplace_back(op, "weight is missing");
  op = good_matmul();
  op.x.cols = op.weight.cols = 33;
  op.weight.dtype = DType::q8_0;
  wrong.emplace_back(op, "not whole blocks of Q8_0");
  op = good_matmul();
  op.out.offset = (1 << 16) - 64;
  wrong.emplace_back(op, "leaves its buffer");
  op = good_matmul();
  op.out.rows = 3;
  wrong.emplace_back(op, "writes up to 4 rows into a tensor of 3");
  op = good_matmul();
  op.weight.buffer = 1;
  wrong.emplace_back(op, "buffer 1 is not in the table");
  op = good_matmul();
  op.weight.buffer = 77;
  wrong.emplace_back(op, "buffer 77 is not in the table");
  op = good_matmul();
  op.x.offset = 2;
  wrong.emplace_back(op, "F32 values at odd offset 2");
  ops::Attention attention;
  attention.q = attention.out = arena_f32(0, 4, 96);
  attention.n_head = 3;
  attention.kv.n_head_kv = 2;
  attention.kv.head_dim_k = attention.kv.head_dim_v = 32;
  wrong.emplace_back(attention, "3 heads do not divide into 2 KV heads");
  attention.kv.n_head_kv = 0;
  wrong.emplace_back(attention, "3 heads do not divide into 0 KV heads");
  attention.kv = {};
  attention.kv.n_head_kv = 3;
  attention.kv.dtype = DType::q8_0;
  attention.kv.head_dim_k = attention.kv.head_dim_v = 48;
  wrong.emplace_back(attention, "heads of 48 and 48 values are not whole blocks of Q8_0");
  ops::RopeKvWrite rope;
  rope.q = rope.k = rope.v = arena_f32(0, 4, 32);
  rope.n_head = rope.kv.n_head_kv = 1;
  rope.kv.head_dim_k = rope.kv.head_dim_v = 32;
  rope.rope = RopeKind::halves;
  rope.n_rot = 34;
  wrong.emplace_back(rope, "n_rot is odd or beyond the head's end");
  rope.n_rot = 16;
  rope.rot_begin = 17;
  wrong.emplace_back(rope, "n_rot is odd or beyond the head's end");
  rope.rope = RopeKind::none;
  rope.v = {};
  wrong.emplace_back(rope, "v is missing");
  rope.kv.v_in_k = true;
  rope.v = rope.k;
  wrong.emplace_back(rope, "values are part of the keys");
  rope.k = {};
  wrong.emplace_back(rope, "v is written without k");
  add_wrong_newer_ops(wrong);

  for (const auto& make : {+[] { return cpu(1); }, +[] { return make_reference_backend(); }}) {
    Bench bench(make());
    for (const Op& good : std::vector<Op>{good_matmul(), good_experts(), good_route(), good_conv(),
                                          good_heads(), good_copy()}) {
      ASSERT_TRUE(bench.compile({0, {good}})) << op_name(good);
    }
    for (const auto& [bad, problem] : wrong) {
      const auto executable = bench.compile({0, {bad}});
      ASSERT_FALSE(executable) << problem;
      EXPECT_NE(executable.error().problem.find(problem), std::string::npos)
          << executable.error().problem;
      EXPECT_EQ(executable.error().subject, std::string("op ") + op_name(bad));
    }
  }
}

TEST(Compile, RefusesTypesWithoutAPathAndCopies) {
  Bench bench(cpu(1));
  ops::MatMul integer = good_matmul();
  integer.weight.dtype = DType::i32;
  EXPECT_FALSE(bench.backend->supports(integer));
  EXPECT_EQ(bench.compile({0, {integer}}).error().code, ErrorCode::unsupported);
  ops::Copy copy;
  copy.src = copy.dst = arena_f32(0, 4, 8);
  EXPECT_FALSE(bench.backend->supports(copy));
  EXPECT_EQ(bench.compile({0, {copy}}).error().code, ErrorCode::unsupported);
  ops::RopeKvWrite rope;
  rope.q = rope.k = rope.v = arena_f32(0, 4, 32);
  rope.n_head = rope.kv.n_head_kv = 1;
  rope.kv.head_dim_k = rope.kv.head_dim_v = 32;
  EXPECT_TRUE(bench.backend->supports(rope));
  rope.kv.dtype = DType::q5_0;
  EXPECT_FALSE(bench.backend->supports(rope));
}

TEST(Compile, RefusesScratchThatIsTooSmall) {
  const auto backend = cpu(2);
  auto arena = backend->alloc(1 << 16);
  ops::MatMul op = good_matmul();
  op.weight.dtype = DType::q8_0;
  const Segment segment{0, {op}};
  const std::uint64_t wanted = backend->scratch_bytes(segment, 4, 0);
  ASSERT_GT(wanted, 0u);
  auto scratch = backend->alloc(wanted - 1);
  Buffer* buffers[] = {arena->get()};
  CompileRequest request{&segment, buffers, scratch->get(), 4, 0, false};
  EXPECT_EQ(backend->compile(request).error().code, ErrorCode::invalid_argument);
  request.scratch = nullptr;
  EXPECT_EQ(backend->compile(request).error().subject, "scratch");
}

// --- running ---

TEST(Run, ReportsTimesAndBytesPerOpWhenProfiling) {
  const auto backend = cpu(2);
  auto arena = backend->alloc(1 << 16);
  ops::Scale scale;
  scale.x = scale.out = arena_f32(0, 4, 32);
  const Segment segment{0, {scale, good_matmul()}};
  auto scratch = backend->alloc(backend->scratch_bytes(segment, 4, 0));
  Buffer* buffers[] = {arena->get()};
  CompileRequest request{&segment, buffers, scratch->get(), 4, 0, true};
  auto executable = backend->compile(request);
  ASSERT_TRUE(executable);
  StepInput step;
  step.n_row = 4;
  ASSERT_EQ((*executable)->run(step, StopFlag{false}), RunStatus::done);
  const std::vector<OpTime> times = (*executable)->times();
  ASSERT_EQ(times.size(), 2u);
  EXPECT_STREQ(times[0].name, "scale");
  EXPECT_STREQ(times[1].name, "matmul");
  EXPECT_EQ(times[0].bytes, 0u);
  EXPECT_EQ(times[1].bytes, 8u * 32 * sizeof(float));
  EXPECT_GE(times[0].microseconds, 0.0);
  request.profile = false;
  EXPECT_TRUE((*backend->compile(request))->times().empty());
}

TEST(Run, ChangesNothingWhenStoppedBefore) {
  for (const auto& make :
       {+[] { return cpu(1); }, +[] { return cpu(2); }, +[] { return make_reference_backend(); }}) {
    Bench bench(make());
    auto executable = bench.compile({0, {good_matmul()}});
    ASSERT_TRUE(executable);
    std::memset(bench.arena->host(), 0x11, bench.arena->size());
    StepInput step;
    step.n_row = 4;
    EXPECT_EQ((*executable)->run(step, StopFlag{true}), RunStatus::cancelled);
    for (std::uint64_t i = 0; i < bench.arena->size(); ++i) {
      ASSERT_EQ(bench.arena->host()[i], std::byte{0x11});
    }
  }
}

/// A step of hours ends when the flag is raised: without a look at it inside of ops this test would
/// never end.
TEST(Run, EndsALongStepWhenTheFlagIsRaised) {
  for (const unsigned threads : {1u, 2u}) {
    const auto backend = cpu(threads);
    constexpr std::uint32_t kRows = 512;
    constexpr std::uint32_t kWide = 1024;
    auto arena = backend->alloc((std::uint64_t{2} * kRows + kWide) * kWide * sizeof(float));
    ASSERT_TRUE(arena);
    ops::MatMul op;
    op.x = arena_f32(0, kRows, kWide);
    op.out = arena_f32(kRows * kWide * sizeof(float), kRows, kWide);
    op.weight = arena_f32(2 * kRows * kWide * sizeof(float), kWide, kWide);
    const Segment segment{0, std::vector<Op>(200000, op)};
    auto scratch = backend->alloc(backend->scratch_bytes(segment, kRows, 0));
    Buffer* buffers[] = {arena->get()};
    const CompileRequest request{&segment, buffers, scratch->get(), kRows, 0, false};
    auto executable = backend->compile(request);
    ASSERT_TRUE(executable);
    StopFlag stop{false};
    std::thread raiser([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      stop.store(true);
    });
    StepInput step;
    step.n_row = kRows;
    EXPECT_EQ((*executable)->run(step, stop), RunStatus::cancelled);
    raiser.join();
    // The same executable runs again afterwards: a shorter step, to its end.
    auto once = backend->compile({&segment, buffers, scratch->get(), kRows, 0, false});
    stop.store(true);
    EXPECT_EQ((*once)->run(step, stop), RunStatus::cancelled);
  }
}

TEST(Run, KeepsTwoBackendsApart) {
  const auto drive = [](unsigned threads, float factor) {
    Bench bench(cpu(threads));
    ops::Scale op;
    op.x = op.out = arena_f32(0, 64, 128);
    op.factor = factor;
    const Segment segment{0, {op, op, op}};
    auto executable = bench.compile(segment, 64);
    ASSERT_TRUE(executable);
    StepInput step;
    step.n_row = 64;
    auto* values = reinterpret_cast<float*>(bench.arena->host());
    for (int i = 0; i < 200; ++i) {
      std::fill_n(values, 64 * 128, 1.0f);
      ASSERT_EQ((*executable)->run(step, StopFlag{false}), RunStatus::done);
      ASSERT_EQ(values[0], factor * factor * factor);
      ASSERT_EQ(values[64 * 128 - 1], factor * factor * factor);
    }
  };
  std::thread other([&] { drive(2, 3.0f); });
  drive(2, 2.0f);
  other.join();
}

/// A bucket's executable takes any smaller step, one after the other, with the same results as its
/// own bucket.
TEST(Run, TakesAnyStepThatFitsItsBucket) {
  Bench bench(cpu(2));
  ops::MatMul op = good_matmul();
  op.x.rows = op.out.rows = 40;
  op.weight.offset = 8192;
  op.weight.dtype = DType::q8_0;
  op.out.offset = 16384;
  std::vector<float> values(32);
  for (int row = 0; row < 8; ++row) {
    std::iota(values.begin(), values.end(), static_cast<float>(row - 20));
    reference::quantize_row(DType::q8_0, values.data(), 32, bench.arena->host() + 8192 + 34 * row);
  }
  auto* x = reinterpret_cast<float*>(bench.arena->host());
  for (int i = 0; i < 40 * 32; ++i) {
    x[i] = static_cast<float>(i % 7) - 3.0f;
  }
  const auto* out = reinterpret_cast<const float*>(bench.arena->host() + 16384);
  auto executable = bench.compile({0, {op}}, 40);
  ASSERT_TRUE(executable);
  std::vector<float> expected;
  StepInput step;
  for (const std::uint32_t rows : {40u, 1u, 17u, 2u, 8u, 0u, 39u}) {
    step.n_row = rows;
    ASSERT_EQ((*executable)->run(step, StopFlag{false}), RunStatus::done);
    if (expected.empty()) {
      expected.assign(out, out + 40 * 8);
    }
    for (std::uint32_t i = 0; i < rows * 8; ++i) {
      ASSERT_NEAR(out[i], expected[i], 1e-3f * (1.0f + std::abs(expected[i]))) << rows;
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm
