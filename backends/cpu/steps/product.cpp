#include "backends/cpu/steps/product.h"

#include <algorithm>

namespace lm::cpu {
namespace {

// Work stealing needs a few items per thread; kernels stream better over long ranges.
constexpr std::uint32_t kItemsPerThread = 6;

// Multiply-adds that an item with many rows may hold: about a millisecond with vectors and tens of
// them without, so that a stop is quick.
constexpr std::uint64_t kMaxItemWork = std::uint64_t{1} << 27;

// Weight bytes below which an item is not worth its claim.
constexpr std::uint64_t kMinItemBytes = 16384;

/// Activations into the form that kernels take.
class ConvertStep final : public Step {
 public:
  ConvertStep(const float* x, std::uint32_t k, RowSet rows, const MatMulKernel& kernel,
              std::size_t region)
      : x_(x), k_(k), rows_(rows), kernel_(&kernel), region_(region) {
    const std::uint32_t group = std::max(kernel.row_group, 1u);
    rows_per_item_ =
        std::min(div_up(std::max(1u, kValuesPerItem / k), group) * group, kMaxProductRows);
  }

  std::uint32_t begin(const RunState& run) override {
    const std::uint32_t n_rows = run.rows(rows_);
    const std::uint32_t full = n_rows / kMaxProductRows;
    return full * items_of(kMaxProductRows) + items_of(n_rows % kMaxProductRows);
  }

  void item(const RunState& run, std::uint32_t item, std::uint32_t) const override {
    const std::uint32_t pass = item / items_of(kMaxProductRows);
    const std::uint32_t first = pass * kMaxProductRows;
    const std::uint32_t n_rows = std::min(run.rows(rows_) - first, kMaxProductRows);
    const std::uint32_t begin = item % items_of(kMaxProductRows) * rows_per_item_;
    std::byte* act = run.region(region_) + kernel_->act_bytes(kMaxProductRows, k_) * pass;
    kernel_->convert(x_ + std::uint64_t{first} * k_, k_, n_rows, k_, act, begin,
                     std::min(begin + rows_per_item_, n_rows));
  }

 private:
  static constexpr std::uint32_t kValuesPerItem = 32768;

  std::uint32_t items_of(std::uint32_t rows) const { return div_up(rows, rows_per_item_); }

  const float* x_;
  std::uint32_t k_;
  RowSet rows_;
  const MatMulKernel* kernel_;
  std::size_t region_;
  std::uint32_t rows_per_item_;
};

bool same(const TensorRef& a, const TensorRef& b) {
  return a.buffer == b.buffer && a.offset == b.offset && a.cols == b.cols;
}

}  // namespace

std::uint64_t act_region_bytes(const MatMulKernel& kernel, std::uint32_t rows, std::uint32_t k) {
  const std::uint32_t full = rows / kMaxProductRows;
  const std::uint32_t rest = rows % kMaxProductRows;
  // A single row has a form of its own, which may be larger than a share of the form for several.
  const std::uint64_t last =
      rest == 0 ? 0 : std::max(kernel.act_bytes(1, k), kernel.act_bytes(rest, k));
  return kernel.act_bytes(kMaxProductRows, k) * full + last;
}

std::size_t Planner::converted(const TensorRef& x, RowSet rows, const MatMulKernel& kernel) {
  for (const Conversion& c : conversions_) {
    if (c.convert == kernel.convert && c.rows == rows && same(c.x, x)) {
      return c.region;
    }
  }
  const SharedRegion kind = kernel.format == ActFormat::q8_32 ? act_q8_32 : act_q8_256;
  const std::size_t region = shared_region(kind, act_region_bytes(kernel, capacity(rows), x.cols));
  push(std::make_unique<ConvertStep>(f32(x), x.cols, rows, kernel, region));
  std::erase_if(conversions_, [&](const Conversion& c) { return c.region == region; });
  conversions_.push_back({x, rows, kernel.convert, region});
  return region;
}

Product::Product(const TensorRef& x_ref, const TensorRef& weight, const TensorRef& bias,
                 const TensorRef& out_ref, bool accumulate, RowSet rows, Planner& plan)
    : kernel(find_matmul(weight.dtype, plan.isa(), weight.cols)),
      x(plan.f32(x_ref)),
      out(plan.f32(out_ref)),
      n_out(weight.rows) {
  LM_ASSERT(kernel != nullptr, "compile took a type without a kernel");
  args.weight = plan.bytes(weight);
  args.weight_row_bytes = row_bytes(weight.dtype, weight.cols);
  args.k = weight.cols;
  args.x_stride = x_ref.cols;
  args.bias = plan.f32(bias);
  args.out_stride = out_ref.cols;
  args.accumulate = accumulate;
  if (kernel->format != ActFormat::f32) {
    act_region = plan.converted(x_ref, rows, *kernel);
  }
}

MatMulArgs Product::pass_args(const RunState& run, std::uint32_t pass, std::uint32_t n_rows) const {
  const std::uint64_t first = std::uint64_t{pass} * kMaxProductRows;
  MatMulArgs a = args;
  a.n_rows = static_cast<std::uint32_t>(std::min<std::uint64_t>(n_rows - first, kMaxProductRows));
  a.act = kernel->format == ActFormat::f32
              ? reinterpret_cast<const std::byte*>(x + first * args.x_stride)
              : run.region(act_region) + kernel->act_bytes(kMaxProductRows, args.k) * pass;
  a.out = out + first * args.out_stride;
  return a;
}

std::uint32_t rows_per_item(const Product& product, std::uint32_t n_rows, std::uint32_t n_threads) {
  return rows_per_item(ItemShape{product.n_out, product.args.k, product.args.weight_row_bytes,
                                 product.kernel->row_step},
                       n_rows, n_threads);
}

std::uint32_t rows_per_item(const ItemShape& shape, std::uint32_t n_rows, std::uint32_t n_threads) {
  const std::uint32_t step = shape.row_step;
  const std::uint64_t n_item = std::uint64_t{kItemsPerThread} * n_threads;
  std::uint64_t rows = (shape.n_out + n_item - 1) / n_item;
  rows = std::max(rows, kMinItemBytes / std::max<std::uint64_t>(shape.weight_row_bytes, 1));
  const std::uint64_t row_work = std::uint64_t{std::min(n_rows, kMaxProductRows)} * shape.k;
  rows = std::min(rows,
                  std::max<std::uint64_t>(kMaxItemWork / std::max<std::uint64_t>(row_work, 1), 1));
  return static_cast<std::uint32_t>((rows + step - 1) / step * step);
}

}  // namespace lm::cpu
