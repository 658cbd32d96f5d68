#include <algorithm>

#include "backends/cpu/steps/product.h"

namespace lm::cpu {
namespace {

/// What both steps of the op know: a product per head, whose x and out are columns of wider rows.
struct HeadProduct {
  HeadProduct(const ops::HeadMatMul& op, const Planner& plan)
      : kernel(find_matmul(op.weight.dtype, plan.isa(), op.weight.cols)),
        x(plan.f32(op.x)),
        n_head(op.n_head),
        x_width(op.x_width),
        x_stride(op.x.cols) {
    LM_ASSERT(kernel != nullptr, "compile took a type without a kernel");
    if (kernel->format != ActFormat::f32) {
      head_bytes = act_region_bytes(*kernel, plan.capacity(RowSet::step), op.weight.cols);
      head_bytes = (head_bytes + 63) / 64 * 64;
    }
  }

  const float* head_x(std::uint32_t head, std::uint32_t first_row) const {
    return x + first_row * x_stride + std::uint64_t{head} * x_width;
  }

  const MatMulKernel* kernel;
  const float* x;
  std::uint32_t n_head;
  std::uint32_t x_width;
  std::uint64_t x_stride;
  std::uint64_t head_bytes = 0;  ///< of a head's converted activations
};

/// Activations of some heads into the form that the kernel takes.
class HeadConvertStep final : public Step {
 public:
  HeadConvertStep(const HeadProduct& product, std::uint32_t k, std::size_t region)
      : product_(product), k_(k), region_(region) {}

  std::uint32_t begin(const RunState& run) override {
    const std::uint64_t head_values = std::uint64_t{run.input->n_row} * k_;
    heads_per_item_ = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
        kValuesPerItem / std::max<std::uint64_t>(head_values, 1), 1, product_.n_head));
    return run.input->n_row == 0 ? 0 : div_up(product_.n_head, heads_per_item_);
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t) const override {
    const MatMulKernel& kernel = *product_.kernel;
    const std::uint32_t end = std::min((item + 1) * heads_per_item_, product_.n_head);
    for (std::uint32_t h = item * heads_per_item_; h < end; ++h) {
      std::byte* act = run.region(region_) + product_.head_bytes * h;
      for (std::uint32_t first = 0; first < run.input->n_row; first += kMaxProductRows) {
        const std::uint32_t n_rows = std::min(run.input->n_row - first, kMaxProductRows);
        kernel.convert(product_.head_x(h, first), product_.x_stride, n_rows, k_, act, 0, n_rows);
        act += kernel.act_bytes(kMaxProductRows, k_);
      }
    }
  }

 private:
  static constexpr std::uint64_t kValuesPerItem = 32768;

  HeadProduct product_;
  std::uint32_t k_;
  std::size_t region_;
  std::uint32_t heads_per_item_ = 1;
};

/// Items are ranges of one head's weight rows, for one pass of rows.
class HeadMatMulStep final : public Step {
 public:
  HeadMatMulStep(const HeadProduct& product, const ops::HeadMatMul& op, std::size_t region,
                 const Planner& plan)
      : product_(product),
        region_(region),
        weight_(plan.bytes(op.weight)),
        out_(plan.f32(op.out)),
        out_width_(op.out_width),
        out_stride_(op.out.cols),
        k_(op.weight.cols),
        n_out_(op.weight.rows / op.n_head),
        row_bytes_(row_bytes(op.weight.dtype, op.weight.cols)) {
    const ItemShape shape{op.weight.rows, k_, row_bytes_, product.kernel->row_step};
    item_rows_ = rows_per_item(shape, plan.capacity(RowSet::step), plan.n_threads());
  }

  std::uint32_t begin(const RunState& run) override {
    return div_up(run.input->n_row, kMaxProductRows) * product_.n_head * items_per_head();
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t thread) const override {
    const MatMulKernel& kernel = *product_.kernel;
    const std::uint32_t begin = item % items_per_head() * item_rows_;
    item /= items_per_head();
    const std::uint32_t head = item % product_.n_head;
    const std::uint32_t pass = item / product_.n_head;
    const std::uint32_t first = pass * kMaxProductRows;
    MatMulArgs args;
    args.weight = weight_ + row_bytes_ * n_out_ * head;
    args.weight_row_bytes = row_bytes_;
    args.k = k_;
    args.n_rows = std::min(run.input->n_row - first, kMaxProductRows);
    args.x_stride = product_.x_stride;
    args.act = kernel.format == ActFormat::f32
                   ? reinterpret_cast<const std::byte*>(product_.head_x(head, first))
                   : run.region(region_) + product_.head_bytes * head +
                         kernel.act_bytes(kMaxProductRows, k_) * pass;
    args.out = out_ + first * out_stride_ + std::uint64_t{head} * out_width_;
    args.out_stride = out_stride_;
    kernel.run(args, begin, std::min(begin + item_rows_, n_out_), run.thread_scratch(thread));
  }

  std::uint64_t bytes_read(const RunState&) const override {
    return row_bytes_ * n_out_ * product_.n_head;
  }

 private:
  std::uint32_t items_per_head() const { return div_up(n_out_, item_rows_); }

  HeadProduct product_;
  std::size_t region_;
  const std::byte* weight_;
  float* out_;
  std::uint32_t out_width_;
  std::uint64_t out_stride_;
  std::uint32_t k_;
  std::uint32_t n_out_;
  std::uint64_t row_bytes_;
  std::uint32_t item_rows_;
};

}  // namespace

void emit(const ops::HeadMatMul& op, Planner& plan) {
  const HeadProduct product(op, plan);
  std::size_t region = 0;
  if (product.kernel->format != ActFormat::f32) {
    region = plan.shared_region(Planner::act_heads, product.head_bytes * op.n_head);
    plan.push(std::make_unique<HeadConvertStep>(product, op.weight.cols, region));
  }
  plan.need_thread_scratch(product.kernel->scratch_bytes(
      std::min(plan.capacity(RowSet::step), kMaxProductRows), op.weight.cols));
  plan.push(std::make_unique<HeadMatMulStep>(product, op, region, plan));
}

}  // namespace lm::cpu
