// Products: few rows stream the weights once (matvec), more rows go through tiles (matmul).
#include <algorithm>
#include <bit>

#include "backends/vulkan/emit.h"

namespace lm::vulkan {
namespace {

/// As `Params` in shaders/product.glsl.
struct ProductParams {
  std::uint64_t x, weight, bias, out;
  std::uint64_t ids;
  std::uint64_t list;
  std::uint64_t row_bytes;
  std::uint32_t n_in, n_out;
  std::uint32_t x_stride, out_stride;
  std::uint32_t row_set;
  std::uint32_t n_used;
  std::uint32_t x_divisor;
  std::uint32_t n_expert;
  std::uint32_t batch_rows;
  std::uint32_t x_batch, out_batch;
  std::uint32_t epilogue, act;
  float scale, softcap;
};

struct SortParams {
  std::uint64_t ids, list;
  std::uint32_t n_expert, n_used, row_set;
};

struct JoinParams {
  std::uint64_t results, weights, out;
  std::uint32_t cols, n_used, row_set;
};

enum class Epilogue : std::uint32_t { store, accumulate, gate, activate, logits };
enum class Batch : std::uint32_t { one, heads, pairs, experts };

/// Up to so many rows every weight is unpacked once for all of them in registers.
constexpr std::uint32_t kStreamRows = 8;
constexpr std::uint32_t kWeightRows = 2;
constexpr std::uint32_t kStreamThreads = 64;
constexpr std::uint32_t kTile = 64;  // weight rows of a tile

std::uint32_t number(RowSet set) {
  return set == RowSet::step ? 0 : 1;
}

/// What all products of x [.., n_in] with rows of `weight` share.
ProductParams product(const Emitter& e, const TensorRef& x, const TensorRef& weight,
                      const TensorRef& bias, const TensorRef& out, RowSet rows) {
  ProductParams p{};
  p.x = e.at(x);
  p.weight = e.at(weight);
  p.bias = e.at(bias);
  p.out = e.at(out);
  p.row_bytes = row_bytes(weight.dtype, weight.cols);
  p.n_in = weight.cols;
  p.n_out = weight.rows;
  p.x_stride = x.cols;
  p.out_stride = out.cols;
  p.row_set = number(rows);
  return p;
}

/// `rows`: rows of x a batch element at most; `z`: batch elements.
void multiply(Emitter& e, DType type, ProductParams params, Epilogue epilogue, Batch batch,
              std::uint32_t rows, std::uint32_t z, std::uint32_t tokens, bool after) {
  params.epilogue = static_cast<std::uint32_t>(epilogue);
  const auto batches = static_cast<std::uint32_t>(batch);
  const bool in_blocks = layout(type).block_elems > 1;
  const std::uint32_t wide =
      in_blocks && params.x % 16 == 0 && params.x_stride % 4 == 0 && params.x_batch % 4 == 0 ? 1
                                                                                             : 0;
  if (tokens <= kStreamRows) {
    e.dispatch("matvec_" + type_suffix(type), {kStreamThreads, tokens, batches, wide, kWeightRows},
               params, std::clamp(parts(params.n_out, kWeightRows), 1u, kMaxGroups), 1, z, after);
  } else {
    e.dispatch("matmul_" + type_suffix(type), {128, tokens, batches, wide}, params,
               parts(params.n_out, kTile), std::min(parts(rows, tokens), kMaxGroups), z, after);
  }
}

/// Rows a workgroup takes at once.
std::uint32_t tokens_for(std::uint32_t rows) {
  if (rows <= kStreamRows) {
    return std::bit_ceil(std::max(rows, 1u));
  }
  return rows <= 16 ? 16 : rows <= 32 ? 32 : 64;
}

void linear(Emitter& e, const TensorRef& weight, const ProductParams& params, Epilogue epilogue,
            std::uint32_t rows, bool after = false) {
  multiply(e, weight.dtype, params, epilogue, Batch::one, rows, 1, tokens_for(rows), after);
}

}  // namespace

void emit(const ops::MatMul& op, Emitter& e) {
  linear(e, op.weight, product(e, op.x, op.weight, op.bias, op.out, op.rows),
         op.accumulate ? Epilogue::accumulate : Epilogue::store, e.rows(op.rows));
}

void emit(const ops::QkvMatMul& op, Emitter& e) {
  const auto part = [&](const TensorRef& weight, const TensorRef& bias, const TensorRef& out) {
    linear(e, weight, product(e, op.x, weight, bias, out, RowSet::step), Epilogue::store,
           e.max_rows());
  };
  part(op.wq, op.bq, op.q);
  part(op.wk, op.bk, op.k);
  part(op.wv, op.bv, op.v);
}

void emit(const ops::HeadMatMul& op, Emitter& e) {
  ProductParams params = product(e, op.x, op.weight, {}, op.out, RowSet::step);
  params.n_out = op.weight.rows / op.n_head;
  params.batch_rows = params.n_out;
  params.x_batch = op.x_width;
  params.out_batch = op.out_width;
  multiply(e, op.weight.dtype, params, Epilogue::store, Batch::heads, e.max_rows(), op.n_head,
           tokens_for(e.max_rows()), false);
}

void emit(const ops::Logits& op, Emitter& e) {
  ProductParams params = product(e, op.x, op.weight, op.bias, op.out, RowSet::outputs);
  params.scale = op.scale;
  params.softcap = op.softcap;
  linear(e, op.weight, params, Epilogue::logits, e.rows(RowSet::outputs));
}

void emit(const ops::GatedFfn& op, Emitter& e) {
  ProductParams up = product(e, op.x, op.w_up, op.b_up, op.out, op.rows);
  up.act = static_cast<std::uint32_t>(op.act);
  const bool gated = !op.w_gate.empty();
  linear(e, op.w_up, up, gated ? Epilogue::store : Epilogue::activate, e.rows(op.rows));
  if (gated) {
    ProductParams gate = product(e, op.x, op.w_gate, op.b_gate, op.out, op.rows);
    gate.act = up.act;
    linear(e, op.w_gate, gate, Epilogue::gate, e.rows(op.rows), true);
  }
}

void emit(const ops::MoeFfn& op, Emitter& e) {
  const std::uint32_t rows = e.rows(op.rows);
  const std::uint32_t n_used = op.ids.cols;
  const std::uint64_t n_pair = std::uint64_t{rows} * n_used;
  const std::uint64_t hidden = e.scratch(n_pair * op.n_ff * sizeof(float));
  const std::uint64_t results = e.scratch(n_pair * op.out.cols * sizeof(float));
  // Few rows: each pair for itself. More: the rows of an expert together, so that its weights are
  // unpacked once.
  const bool few = rows <= kStreamRows;
  std::uint64_t list = 0;
  if (!few) {
    list = e.scratch((op.n_expert + 1 + n_pair) * sizeof(std::uint32_t));
    e.dispatch("moe_sort", {256},
               SortParams{e.at(op.ids), list, op.n_expert, n_used, number(op.rows)}, 1);
  }
  const std::uint32_t z = few ? static_cast<std::uint32_t>(n_pair) : op.n_expert;
  const std::uint32_t tokens = few ? 1 : n_pair / op.n_expert <= 16 ? 16 : 32;
  const auto stage = [&](const TensorRef& weight, const TensorRef& bias, std::uint64_t x,
                         std::uint32_t x_stride, std::uint32_t x_divisor, std::uint64_t out,
                         std::uint32_t n_out, std::uint32_t batch_rows, Epilogue epilogue,
                         bool after) {
    ProductParams p{};
    p.x = x;
    p.weight = e.at(weight);
    p.bias = e.at(bias);
    p.out = out;
    p.ids = e.at(op.ids);
    p.list = list;
    p.row_bytes = row_bytes(weight.dtype, weight.cols);
    p.n_in = weight.cols;
    p.n_out = n_out;
    p.x_stride = x_stride;
    p.out_stride = n_out;
    p.row_set = number(op.rows);
    p.n_used = n_used;
    p.x_divisor = x_divisor;
    p.n_expert = op.n_expert;
    p.batch_rows = batch_rows;
    p.act = static_cast<std::uint32_t>(op.act);
    multiply(e, weight.dtype, p, epilogue, few ? Batch::pairs : Batch::experts, rows, z, tokens,
             after);
  };
  const bool gated = !op.w_gate.empty();
  stage(op.w_up, op.b_up, e.at(op.x), op.x.cols, n_used, hidden, op.n_ff, op.expert_stride,
        gated ? Epilogue::store : Epilogue::activate, !few);
  if (gated) {
    stage(op.w_gate, op.b_gate, e.at(op.x), op.x.cols, n_used, hidden, op.n_ff, op.expert_stride,
          Epilogue::gate, true);
  }
  stage(op.w_down, op.b_down, hidden, op.n_ff, 1, results, op.out.cols, op.out.cols,
        Epilogue::store, true);
  e.dispatch(
      "moe_join", {64, op.accumulate ? 1u : 0u},
      JoinParams{results, e.at(op.weights), e.at(op.out), op.out.cols, n_used, number(op.rows)},
      parts(op.out.cols, 64), std::max(rows, 1u), 1, true);
}

}  // namespace lm::vulkan
