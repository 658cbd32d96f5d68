#include "runtime/model/forward.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "backends/reference/dequant.h"
#include "runtime/model/rope_table.h"

namespace lm {
namespace {

/// While listing only presence matters: something that is not empty, of the right shape.
TensorRef stand_in(std::uint64_t cols, std::uint64_t rows) {
  return {DType::f32, BufferIndex{1}, 0, static_cast<std::uint32_t>(rows),
          static_cast<std::uint32_t>(cols)};
}

}  // namespace

Forward::Forward(const Hparams& hparams, const GgufFile& file, const Placement& placement,
                 std::vector<TensorSpec>& specs)
    : h(hparams), file_(file), placement_(placement), specs_(&specs), builder_(nullptr, 1, 1, 1) {
  at_input();
}

Forward::Forward(const ForwardInputs& in, std::uint32_t max_rows, std::uint32_t max_outputs)
    : h(in.hparams),
      in_(&in),
      file_(in.file),
      placement_(in.placement),
      builder_(&in.weights, in.n_device, max_rows, max_outputs) {
  at_input();
}

Forward::~Forward() = default;

Plan Forward::finish() {
  return builder_.finish(output_);
}

std::uint16_t Forward::device_of(std::uint32_t layer, Part part) const {
  // A layer that reads another layer's KV must stand where that lies.
  const std::int32_t source = h.layers[layer].kv_source;
  return placement_.of(
      part == Part::attention && source >= 0 ? static_cast<std::uint32_t>(source) : layer, part);
}

void Forward::at_input() {
  prefix_.clear();
  role_ = Role::embedding;
  device_ = placement_.embedding;
}

void Forward::at_layer(std::uint32_t layer, Part part) {
  layer_ = layer;
  prefix_ = fmt::format("blk.{}.", layer);
  role_ = part == Part::attention ? Role::attention : part == Part::ffn ? Role::ffn : Role::experts;
  device_ = device_of(layer, part);
}

void Forward::at_output() {
  prefix_.clear();
  role_ = Role::output;
  device_ = placement_.output;
}

std::string Forward::full_name(std::string_view name, std::string_view suffix) const {
  return fmt::format("{}{}{}", prefix_, name, suffix);
}

bool Forward::has(std::string_view name, std::string_view suffix) const {
  return file_.find_tensor(full_name(name, suffix)) != nullptr;
}

void Forward::note(const std::string& name, std::uint64_t n_cols, std::uint64_t rows, bool vector,
                   Need need) {
  specs_->push_back({name, n_cols, rows, vector, need, role_, layer_, device_});
}

TensorRef Forward::matrix(std::string_view name, std::uint64_t n_in, std::uint64_t n_out,
                          Need need) {
  if (need == Need::none) {
    return {};
  }
  const std::string full = full_name(name, ".weight");
  if (listing()) {
    note(full, n_in, n_out, false, need);
    return file_.find_tensor(full) != nullptr ? stand_in(n_in, n_out) : TensorRef{};
  }
  return builder_.weight(full, device_);
}

TensorRef Forward::vector(std::string_view name, std::uint64_t n, Need need,
                          std::string_view suffix) {
  if (need == Need::none) {
    return {};
  }
  const std::string full = full_name(name, suffix);
  const GgufTensor* tensor = file_.find_tensor(full);
  if (listing()) {
    note(full, n, 1, true, need);
    return tensor != nullptr ? stand_in(n, 1) : TensorRef{};
  }
  if (tensor == nullptr) {
    return {};
  }
  TensorRef ref = builder_.weight(full, device_);
  if (tensor->dtype == DType::f32) {
    ref.rows = 1;
    ref.cols = static_cast<std::uint32_t>(n);
    return ref;
  }
  // Ops take vectors in f32; one of another type becomes a constant.
  std::vector<float> values(n);
  if (const auto bytes = file_.data(*tensor)) {
    reference::dequantize_row(tensor->dtype, bytes->data(), values.size(), values.data());
  }
  return constant(full, values);
}

TensorRef Forward::table(std::string_view name, std::uint32_t rows, std::uint32_t cols, Need need,
                         std::string_view suffix) {
  TensorRef ref = vector(name, std::uint64_t{rows} * cols, need, suffix);
  if (!ref.empty()) {
    ref.rows = rows;
    ref.cols = cols;
  }
  return ref;
}

TensorRef Forward::constant(const std::string& key, const std::vector<float>& values) {
  return builder_.constant(key, listing() ? std::uint16_t{0} : device_, values);
}

void Forward::output_rows_only() {
  builder_.begin_head();
  output_rows_only_ = true;
}

Value Forward::of_wanted_rows(const Value& x) {
  if (!output_rows_only_ || x.rows == RowSet::outputs) {
    return x;
  }
  const Value picked = builder_.value(x.device, cols(x), RowSet::outputs);
  if (!listing()) {
    builder_.emit(x.device, ops::GatherRows{x.ref, picked.ref});
  }
  return picked;
}

Value Forward::value(std::uint32_t cols, RowSet rows, DType dtype) {
  return builder_.value(device_, cols, rows, dtype);
}

void Forward::emit(Op op) {
  if (!listing()) {
    builder_.emit(device_, std::move(op));
  }
}

const KvRef& Forward::kv() const {
  static const KvRef none;
  if (listing()) {
    return none;
  }
  const std::int32_t source = lp().kv_source;
  return in_->kv.layers[source >= 0 ? static_cast<std::uint32_t>(source) : layer_];
}

StateRef Forward::state(std::uint64_t begin, std::uint64_t bytes) const {
  if (listing()) {
    return {};
  }
  StateRef ref = in_->kv.states[layer_];
  ref.offset += begin;
  ref.bytes = bytes;
  return ref;
}

std::vector<float> Forward::rope_factors(std::uint32_t n_rot) {
  // Llama 3's factors, or longrope's by the context that is opened.
  const bool is_long = in_ != nullptr && in_->n_ctx > h.rope.n_ctx_orig;
  const std::array<std::string_view, 3> names = {"rope_freqs.weight", "rope_factors_long.weight",
                                                 "rope_factors_short.weight"};
  if (listing()) {
    for (const std::string_view name : names) {
      specs_->push_back(
          {std::string(name), n_rot / 2, 1, true, Need::optional, Role::constant, 0, 0});
    }
    return {};
  }
  const GgufTensor* tensor = file_.find_tensor(names[0]);
  if (tensor == nullptr) {
    tensor = file_.find_tensor(names[is_long ? 1 : 2]);
  }
  std::vector<float> factors;
  if (tensor != nullptr) {
    if (const auto bytes = file_.data(*tensor)) {
      factors.resize(n_rot / 2);
      reference::dequantize_row(tensor->dtype, bytes->data(), factors.size(), factors.data());
    }
  }
  return factors;
}

TensorRef Forward::inv_freq(const RopeParams& rope, float& magnitude) {
  const std::vector<float> factors =
      rope.use_factors ? rope_factors(rope.n_rot) : std::vector<float>{};
  const RopeTable table = rope_table(rope, factors);
  magnitude = table.magnitude;
  const std::string key =
      fmt::format("inv_freq {} {} {} {} {}", rope.n_rot, rope.freq_base,
                  static_cast<int>(rope.scaling), rope.factor, !factors.empty());
  return constant(key, table.inv_freq);
}

Value Forward::embed(bool positions, bool token_type) {
  at_input();
  ops::Embed op{.table = matrix("token_embd", h.n_embd, h.n_vocab),
                .out = value(h.n_embd).ref,
                .positions = {},
                .add = {},
                .scale = h.embedding_scale};
  const Value out{device_, op.out, RowSet::step};
  if (positions) {
    op.positions = matrix("position_embd", h.n_embd, h.n_ctx_train);
  }
  if (token_type && has("token_types")) {
    const GgufTensor& types = *file_.find_tensor("token_types.weight");
    if (listing()) {
      specs_->push_back({std::string(types.name), h.n_embd, types.rows(), false, Need::required,
                         Role::constant, 0, 0});
    }
    // All tokens of a text are of type 0.
    std::vector<float> row(h.n_embd);
    if (const auto bytes = file_.data(types); bytes && types.ne[0] == h.n_embd) {
      reference::dequantize_row(types.dtype, bytes->data(), row.size(), row.data());
    }
    op.add = constant("token_types", row);
  }
  emit(op);
  return out;
}

Value Forward::norm(const Value& x, std::string_view name, const NormSpec& spec) {
  return norm_rows(here(x), name, spec);
}

Value Forward::norm_rows(const Value& x, std::string_view name, const NormSpec& spec) {
  const Value out = builder_.value(device_, cols(x), x.rows);
  emit(ops::Norm{.kind = spec.kind,
                 .x = x.ref,
                 .out = out.ref,
                 .weight = vector(name, cols(x)),
                 .bias = bias(name, cols(x), spec.bias),
                 .eps = h.norm_eps,
                 .rows = x.rows});
  return out;
}

void Forward::add_normed(Value& x, const Value& y, std::string_view name, const NormSpec& spec) {
  x = here(x);
  emit(ops::Norm{.kind = spec.kind,
                 .x = here(y).ref,
                 .out = x.ref,
                 .weight = vector(name, cols(x)),
                 .bias = bias(name, cols(x), spec.bias),
                 .eps = h.norm_eps,
                 .accumulate = true,
                 .rows = x.rows});
}

Projection Forward::projection(const Value& x, std::string_view name, std::uint32_t n_out,
                               Need bias_need) {
  const Value here_x = here(x);
  return {here_x, matrix(name, cols(x), n_out), bias(name, n_out, bias_need), n_out};
}

Value Forward::project(const Projection& p) {
  const Value out = builder_.value(device_, p.n_out, p.x.rows);
  emit(ops::MatMul{
      .x = p.x.ref, .weight = p.weight, .bias = p.bias, .out = out.ref, .rows = p.x.rows});
  return out;
}

Value Forward::linear(const Value& x, std::string_view name, std::uint32_t n_out, Need bias_need) {
  return project(projection(x, name, n_out, bias_need));
}

void Forward::add(Value& x, const Projection& y) {
  if (h.residual_scale != 1.0f) {
    add(x, project(y));
    return;
  }
  x = here(x);
  emit(ops::MatMul{.x = here(y.x).ref,
                   .weight = y.weight,
                   .bias = y.bias,
                   .out = x.ref,
                   .accumulate = true,
                   .rows = x.rows});
}

void Forward::add(Value& x, const Value& y) {
  x = here(x);
  emit(ops::Add{
      .a = x.ref, .b = here(y).ref, .out = x.ref, .factor_b = h.residual_scale, .rows = x.rows});
}

Value Forward::mul(const Value& a, const Value& b, Activation act) {
  const Value factor = here(b);
  const Value out = value(cols(b), factor.rows);
  emit(
      ops::Mul{.a = here(a).ref, .b = factor.ref, .out = out.ref, .act = act, .rows = factor.rows});
  return out;
}

Value Forward::scaled(const Value& x, float factor) {
  const Value in = here(x);
  const Value out = value(cols(x), in.rows);
  emit(ops::Scale{.x = in.ref, .out = out.ref, .factor = factor, .rows = in.rows});
  return out;
}

Value Forward::slice(const Value& x, std::uint32_t begin, std::uint32_t n, std::uint32_t groups) {
  const Value in = here(x);
  const Value out = value(n * groups, in.rows);
  emit(ops::CopyCols{.x = in.ref,
                     .out = out.ref,
                     .groups = groups,
                     .x_groups = groups,
                     .x_width = cols(x) / groups,
                     .x_begin = begin,
                     .out_width = n,
                     .out_begin = 0,
                     .n = n,
                     .rows = in.rows});
  return out;
}

Value Forward::pool(const Value& x, std::string_view norm_name, const NormSpec& spec) {
  at_output();
  Value rows = here(x);
  const bool mean = h.pooling == Pooling::mean;
  if (mean && !norm_name.empty()) {
    rows = norm_rows(rows, norm_name, spec);
  }
  builder_.begin_head();
  Value out = value(h.n_embd, RowSet::outputs);
  if (mean) {
    emit(ops::MeanRows{rows.ref, out.ref});
  } else {
    emit(ops::GatherRows{rows.ref, out.ref});
    out = norm_name.empty() ? out : norm_rows(out, norm_name, spec);
  }
  // Dense layers behind the pooling (EmbeddingGemma), one after the other.
  for (const std::string_view name : {"dense_2", "dense_3"}) {
    if (has(name)) {
      const GgufTensor& tensor = *file_.find_tensor(full_name(name, ".weight"));
      out = linear(out, name, static_cast<std::uint32_t>(tensor.rows()));
    }
  }
  return out;
}

void Forward::finish_with(const Value& x, std::string_view norm_name, const NormSpec& spec,
                          Need output) {
  if (is_pooled()) {
    output_ = pool(x, norm_name, spec);
    return;
  }
  output_rows_only();
  const Value picked = of_wanted_rows(x);
  at_output();
  Value hidden = here(picked);
  hidden = norm_name.empty() ? hidden : norm_rows(hidden, norm_name, spec);
  TensorRef weight = matrix("output", h.n_embd, h.n_vocab, output);
  if (weight.empty() && output != Need::required) {
    weight = matrix("token_embd", h.n_embd, h.n_vocab);
  }
  output_ = value(h.n_vocab, RowSet::outputs);
  emit(ops::Logits{.x = hidden.ref,
                   .weight = weight,
                   .bias = bias("output", h.n_vocab, Need::optional),
                   .out = output_.ref,
                   .scale = h.logit_scale,
                   .softcap = h.logit_softcap});
}

std::vector<TensorSpec> list_tensors(const Hparams& hparams, const Architecture& architecture,
                                     const GgufFile& file, const Placement& placement) {
  std::vector<TensorSpec> specs;
  Forward forward(hparams, file, placement, specs);
  architecture.build(forward);
  return specs;
}

Plan build_plan(const Architecture& architecture, const ForwardInputs& in, std::uint32_t max_rows,
                std::uint32_t max_outputs) {
  Forward forward(in, max_rows, max_outputs);
  architecture.build(forward);
  return forward.finish();
}

}  // namespace lm
