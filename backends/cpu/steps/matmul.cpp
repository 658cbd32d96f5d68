#include <algorithm>

#include "backends/cpu/kernels/ops.h"
#include "backends/cpu/steps/product.h"

namespace lm::cpu {
namespace {

/// One or more products of the same rows: the items of all weight matrices stand in one loop.
class ProductStep : public Step {
 public:
  ProductStep(std::vector<Product> products, RowSet rows, const Planner& plan)
      : products_(std::move(products)), rows_(rows) {
    const std::uint32_t capacity = plan.capacity(rows);
    for (const Product& p : products_) {
      item_rows_.push_back(rows_per_item(p, capacity, plan.n_threads()));
      items_per_pass_ += div_up(p.n_out, item_rows_.back());
    }
  }

  std::uint32_t begin(const RunState& run) override {
    return div_up(run.rows(rows_), kMaxProductRows) * items_per_pass_;
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const std::uint32_t pass = item / items_per_pass_;
    item %= items_per_pass_;
    std::size_t i = 0;
    while (item >= div_up(products_[i].n_out, item_rows_[i])) {
      item -= div_up(products_[i].n_out, item_rows_[i]);
      ++i;
    }
    const Product& p = products_[i];
    const std::uint32_t begin = item * item_rows_[i];
    const std::uint32_t end = std::min(begin + item_rows_[i], p.n_out);
    const MatMulArgs args = p.pass_args(run, pass, run.rows(rows_));
    p.kernel->run(args, begin, end, run.thread_scratch(thread));
    finish(args, begin, end);
  }

  std::uint64_t bytes_read(const RunState&) const override {
    std::uint64_t bytes = 0;
    for (const Product& p : products_) {
      bytes += p.weight_bytes();
    }
    return bytes;
  }

 private:
  /// What is left to do with the columns [begin, end) that an item has computed.
  virtual void finish(const MatMulArgs&, std::uint32_t, std::uint32_t) const {}

  std::vector<Product> products_;
  std::vector<std::uint32_t> item_rows_;
  RowSet rows_;
  std::uint32_t items_per_pass_ = 0;
};

class LogitsStep final : public ProductStep {
 public:
  LogitsStep(Product product, const ops::Logits& op, const Planner& plan)
      : ProductStep({std::move(product)}, RowSet::outputs, plan),
        element_(op_kernels(plan.isa()).element),
        scale_(op.scale),
        softcap_(op.softcap) {}

 private:
  void finish(const MatMulArgs& args, std::uint32_t begin, std::uint32_t end) const override {
    for (std::uint32_t r = 0; r < args.n_rows; ++r) {
      element_.softcap(args.out + r * args.out_stride + begin, scale_, softcap_, end - begin);
    }
  }

  const ElementKernels& element_;
  float scale_;
  float softcap_;
};

void need_scratch(const Product& p, RowSet rows, Planner& plan) {
  plan.need_thread_scratch(
      p.kernel->scratch_bytes(std::min(plan.capacity(rows), kMaxProductRows), p.args.k));
}

}  // namespace

void emit(const ops::MatMul& op, Planner& plan) {
  Product p(op.x, op.weight, op.bias, op.out, op.accumulate, op.rows, plan);
  need_scratch(p, op.rows, plan);
  plan.push(std::make_unique<ProductStep>(std::vector{p}, op.rows, plan));
}

void emit(const ops::QkvMatMul& op, Planner& plan) {
  std::vector<Product> products;
  products.emplace_back(op.x, op.wq, op.bq, op.q, false, RowSet::step, plan);
  products.emplace_back(op.x, op.wk, op.bk, op.k, false, RowSet::step, plan);
  products.emplace_back(op.x, op.wv, op.bv, op.v, false, RowSet::step, plan);
  for (const Product& p : products) {
    need_scratch(p, RowSet::step, plan);
  }
  plan.push(std::make_unique<ProductStep>(std::move(products), RowSet::step, plan));
}

void emit(const ops::Logits& op, Planner& plan) {
  Product p(op.x, op.weight, op.bias, op.out, false, RowSet::outputs, plan);
  need_scratch(p, RowSet::outputs, plan);
  if (op.scale == 1.0f && op.softcap == 0.0f) {
    plan.push(std::make_unique<ProductStep>(std::vector{p}, RowSet::outputs, plan));
  } else {
    plan.push(std::make_unique<LogitsStep>(p, op, plan));
  }
}

}  // namespace lm::cpu
