#include "backends/reference/dequant.h"

#include <array>

#include "backends/error.h"
#include "backends/reference/dequant_blocks.h"

namespace lm::reference {
namespace {

using BlockFunction = void (*)(Bytes, float*);

struct Row {
  DType dtype;
  BlockFunction function;
};

constexpr std::array kRows = {
    Row{DType::f32, dequantize_f32},         Row{DType::f16, dequantize_f16},
    Row{DType::bf16, dequantize_bf16},       Row{DType::q4_0, dequantize_q4_0},
    Row{DType::q4_1, dequantize_q4_1},       Row{DType::q5_0, dequantize_q5_0},
    Row{DType::q5_1, dequantize_q5_1},       Row{DType::q8_0, dequantize_q8_0},
    Row{DType::q2_k, dequantize_q2_k},       Row{DType::q3_k, dequantize_q3_k},
    Row{DType::q4_k, dequantize_q4_k},       Row{DType::q5_k, dequantize_q5_k},
    Row{DType::q6_k, dequantize_q6_k},       Row{DType::iq1_s, dequantize_iq1_s},
    Row{DType::iq1_m, dequantize_iq1_m},     Row{DType::iq2_xxs, dequantize_iq2_xxs},
    Row{DType::iq2_xs, dequantize_iq2_xs},   Row{DType::iq2_s, dequantize_iq2_s},
    Row{DType::iq3_xxs, dequantize_iq3_xxs}, Row{DType::iq3_s, dequantize_iq3_s},
    Row{DType::iq4_nl, dequantize_iq4_nl},   Row{DType::iq4_xs, dequantize_iq4_xs},
    Row{DType::tq1_0, dequantize_tq1_0},     Row{DType::tq2_0, dequantize_tq2_0},
    Row{DType::q1_0, dequantize_q1_0},       Row{DType::q2_0, dequantize_q2_0},
    Row{DType::mxfp4, dequantize_mxfp4},     Row{DType::nvfp4, dequantize_nvfp4},
};

BlockFunction find_function(DType dtype) {
  for (const Row& row : kRows) {
    if (row.dtype == dtype) {
      return row.function;
    }
  }
  return nullptr;
}

}  // namespace

bool can_dequantize(DType dtype) {
  return find_function(dtype) != nullptr;
}

void dequantize_row(DType dtype, const std::byte* blocks, std::uint64_t n, float* out) {
  if (n == 0) {
    return;  // the pointers may be null then
  }
  if (dtype == DType::f32) {
    std::memcpy(out, blocks, n * sizeof(float));
    return;
  }
  const BlockFunction function = find_function(dtype);
  LM_ASSERT(function != nullptr, "a type without a formula; ask can_dequantize first");
  const BlockLayout& type = layout(dtype);
  const auto* bytes = reinterpret_cast<Bytes>(blocks);
  for (std::uint64_t i = 0; i < n / type.block_elems; ++i) {
    function(bytes + i * type.block_bytes, out + i * type.block_elems);
  }
}

}  // namespace lm::reference
