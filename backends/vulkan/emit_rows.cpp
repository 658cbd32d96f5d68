// Ops that work on rows without products: embed, norm, element-wise, recurrent ones, routing.
#include <algorithm>

#include "backends/vulkan/emit.h"

namespace lm::vulkan {
namespace {

struct EmbedParams {
  std::uint64_t table, out, row_bytes;
  std::uint32_t n, n_rows;
  std::uint32_t takes_input;
  float scale;
};

struct ElementwiseParams {
  std::uint64_t a, b, out;
  std::uint32_t cols, row_set;
  float factor_a, factor_b;
  std::uint32_t act;
  std::uint32_t a_cols, a_constant;
  std::uint32_t groups, x_groups, x_width, x_begin, out_width, out_begin;
};
// Numbers of the operations in shaders/elementwise.comp.
constexpr std::uint32_t kAdd = 0, kMul = 1, kScale = 2, kCopyCols = 3, kGather = 4;

struct NormParams {
  std::uint64_t x, out, weight, bias;
  std::uint32_t cols, n;
  std::uint32_t weight_by_group, bias_by_group;
  std::uint32_t row_set;
  float eps;
};

struct MeanParams {
  std::uint64_t x, out;
  std::uint32_t cols;
};

struct ConvParams {
  std::uint64_t x, weight, out, slot_bytes, offset;
  std::uint32_t cols, taps, act;
};

struct DeltaParams {
  std::uint64_t qkv, alpha, beta, dt_bias, a, out, slot_bytes, offset;
  std::uint32_t n_head_k, n_head_v;
  float eps;
};

struct RouteParams {
  std::uint64_t logits, bias, expert_scale, ids, weights;
  std::uint32_t n_expert, n_used, n_group, n_group_used;
  std::uint32_t normalize, row_set;
  float scale;
};

std::uint32_t number(RowSet set) {
  return set == RowSet::step ? 0 : 1;
}

void elementwise(Emitter& e, std::uint32_t kind, const ElementwiseParams& params,
                 std::uint64_t rows, std::uint64_t per_row) {
  e.dispatch("elementwise", {256, kind}, params,
             std::clamp(parts(rows * per_row, 256), 1u, kMaxGroups));
}

}  // namespace

void emit(const ops::Embed& op, Emitter& e) {
  const auto add = [&](const TensorRef& table, std::uint32_t row_of, bool after) {
    const EmbedParams params{.table = e.at(table),
                             .out = e.at(op.out),
                             .row_bytes = row_bytes(table.dtype, table.cols),
                             .n = op.out.cols,
                             .n_rows = table.rows,
                             .takes_input = op.takes_input ? 1u : 0u,
                             .scale = op.scale};
    e.dispatch("embed_" + type_suffix(table.dtype), {64, row_of}, params, e.max_rows(), 1, 1,
               after);
  };
  add(op.table, 0, false);
  if (!op.positions.empty()) {
    add(op.positions, 1, true);
  }
  if (!op.add.empty()) {
    add(op.add, 2, true);
  }
}

void emit(const ops::Norm& op, Emitter& e) {
  const std::uint32_t n = op.group != 0 ? op.group : op.x.cols;
  const NormParams params{.x = e.at(op.x),
                          .out = e.at(op.out),
                          .weight = e.at(op.weight),
                          .bias = e.at(op.bias),
                          .cols = op.x.cols,
                          .n = n,
                          .weight_by_group = op.weight.cols == op.x.cols ? 1u : 0u,
                          .bias_by_group = op.bias.cols == op.x.cols ? 1u : 0u,
                          .row_set = number(op.rows),
                          .eps = op.eps};
  const std::uint32_t threads = n >= 1024 ? 256 : 64;
  e.dispatch("norm", {threads, op.kind == NormKind::layer ? 1u : 0u, op.accumulate ? 1u : 0u},
             params, std::min(e.rows(op.rows) * (op.x.cols / n), kMaxGroups));
}

void emit(const ops::Add& op, Emitter& e) {
  ElementwiseParams params{};
  params.a = e.at(op.a);
  params.b = e.at(op.b);
  params.out = e.at(op.out);
  params.cols = op.out.cols;
  params.row_set = number(op.rows);
  params.factor_a = op.factor_a;
  params.factor_b = op.factor_b;
  elementwise(e, kAdd, params, e.rows(op.rows), op.out.cols);
}

void emit(const ops::Mul& op, Emitter& e) {
  ElementwiseParams params{};
  params.a = e.at(op.a);
  params.b = e.at(op.b);
  params.out = e.at(op.out);
  params.cols = op.out.cols;
  params.row_set = number(op.rows);
  params.act = static_cast<std::uint32_t>(op.act);
  params.a_cols = op.a.cols;
  params.a_constant = op.a_constant ? 1 : 0;
  elementwise(e, kMul, params, e.rows(op.rows), op.out.cols);
}

void emit(const ops::Scale& op, Emitter& e) {
  ElementwiseParams params{};
  params.a = e.at(op.x);
  params.out = e.at(op.out);
  params.cols = op.out.cols;
  params.row_set = number(op.rows);
  params.factor_a = op.factor;
  elementwise(e, kScale, params, e.rows(op.rows), op.out.cols);
}

void emit(const ops::CopyCols& op, Emitter& e) {
  ElementwiseParams params{};
  params.a = e.at(op.x);
  params.out = e.at(op.out);
  params.cols = op.n;
  params.row_set = number(op.rows);
  params.groups = op.groups;
  params.x_groups = op.x_groups;
  params.x_width = op.x_width;
  params.x_begin = op.x_begin;
  params.out_width = op.out_width;
  params.out_begin = op.out_begin;
  elementwise(e, kCopyCols, params, e.rows(op.rows), std::uint64_t{op.groups} * op.n);
}

void emit(const ops::GatherRows& op, Emitter& e) {
  ElementwiseParams params{};
  params.a = e.at(op.x);
  params.out = e.at(op.out);
  params.cols = op.out.cols;
  params.row_set = number(RowSet::outputs);
  elementwise(e, kGather, params, e.rows(RowSet::outputs), op.out.cols);
}

void emit(const ops::MeanRows& op, Emitter& e) {
  const MeanParams params{.x = e.at(op.x), .out = e.at(op.out), .cols = op.out.cols};
  e.dispatch("mean_rows", {}, params, parts(op.out.cols, 64),
             std::max(e.rows(RowSet::outputs), 1u));
}

void emit(const ops::CausalConv& op, Emitter& e) {
  const ConvParams params{.x = e.at(op.x),
                          .weight = e.at(op.weight),
                          .out = e.at(op.out),
                          .slot_bytes = op.state.slot_bytes,
                          .offset = op.state.offset,
                          .cols = op.out.cols,
                          .taps = op.weight.cols,
                          .act = static_cast<std::uint32_t>(op.act)};
  e.dispatch("causal_conv", {}, params, parts(op.out.cols, 64), std::max(e.max_rows(), 1u));
}

void emit(const ops::DeltaNet& op, Emitter& e) {
  const DeltaParams params{.qkv = e.at(op.qkv),
                           .alpha = e.at(op.alpha),
                           .beta = e.at(op.beta),
                           .dt_bias = e.at(op.dt_bias),
                           .a = e.at(op.a),
                           .out = e.at(op.out),
                           .slot_bytes = op.state.slot_bytes,
                           .offset = op.state.offset,
                           .n_head_k = op.n_head_k,
                           .n_head_v = op.n_head_v,
                           .eps = op.eps};
  e.dispatch("delta_net", {64, op.head_dim}, params, op.n_head_v, std::max(e.max_rows(), 1u));
}

void emit(const ops::MoeRoute& op, Emitter& e) {
  const RouteParams params{.logits = e.at(op.logits),
                           .bias = e.at(op.bias),
                           .expert_scale = e.at(op.expert_scale),
                           .ids = e.at(op.ids),
                           .weights = e.at(op.weights),
                           .n_expert = op.logits.cols,
                           .n_used = op.ids.cols,
                           .n_group = op.n_group,
                           .n_group_used = op.n_group_used,
                           .normalize = op.normalize ? 1u : 0u,
                           .row_set = number(op.rows),
                           .scale = op.scale};
  e.dispatch("moe_route", {64, static_cast<std::uint32_t>(op.gating)}, params,
             std::max(e.rows(op.rows), 1u));
}

}  // namespace lm::vulkan
