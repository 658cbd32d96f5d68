/// Products on the CPU: conversion of activations, ranges of weight rows as items.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/cpu/step.h"

namespace lm::cpu {

/// Rows that kernels take at once (kernels/matmul.h); larger buckets go in several passes.
constexpr std::uint32_t kMaxProductRows = 512;

/// Bytes of converted activations for all passes of so many rows.
std::uint64_t act_region_bytes(const MatMulKernel& kernel, std::uint32_t rows, std::uint32_t k);

/// One weight matrix of a product op.
struct Product {
  const MatMulKernel* kernel = nullptr;
  MatMulArgs args;  ///< without what depends on the step: act, n_rows, out
  const float* x = nullptr;
  std::size_t act_region = 0;
  float* out = nullptr;
  std::uint32_t n_out = 0;

  /// Resolves the tensors; emits the conversion of x where the kernel needs one.
  Product(const TensorRef& x, const TensorRef& weight, const TensorRef& bias, const TensorRef& out,
          bool accumulate, RowSet rows, Planner& plan);

  /// Arguments for rows [pass * kMaxProductRows, ...) of `n_rows`; `out` points at the first of
  /// them.
  MatMulArgs pass_args(const RunState& run, std::uint32_t pass, std::uint32_t n_rows) const;
  std::uint64_t weight_bytes() const { return args.weight_row_bytes * n_out; }
};

/// What decides how a product is cut into items.
struct ItemShape {
  std::uint64_t n_out;  ///< weight rows in all
  std::uint32_t k;
  std::uint64_t weight_row_bytes;
  std::uint32_t row_step;  ///< of the kernel
};

/// How many weight rows an item holds.
std::uint32_t rows_per_item(const ItemShape& shape, std::uint32_t n_rows, std::uint32_t n_threads);
std::uint32_t rows_per_item(const Product& product, std::uint32_t n_rows, std::uint32_t n_threads);

}  // namespace lm::cpu
