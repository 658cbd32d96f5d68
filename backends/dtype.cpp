#include "backends/dtype.h"

#include <array>

#include "backends/error.h"

namespace lm {
namespace {

constexpr std::array kLayouts = {
    BlockLayout{DType::f32, "F32", 1, 4, TypeUse::weight},
    BlockLayout{DType::f16, "F16", 1, 2, TypeUse::weight},
    BlockLayout{DType::q4_0, "Q4_0", 32, 18, TypeUse::weight},
    BlockLayout{DType::q4_1, "Q4_1", 32, 20, TypeUse::weight},
    BlockLayout{DType::q5_0, "Q5_0", 32, 22, TypeUse::weight},
    BlockLayout{DType::q5_1, "Q5_1", 32, 24, TypeUse::weight},
    BlockLayout{DType::q8_0, "Q8_0", 32, 34, TypeUse::weight},
    BlockLayout{DType::q8_1, "Q8_1", 32, 36, TypeUse::work},
    BlockLayout{DType::q2_k, "Q2_K", 256, 84, TypeUse::weight},
    BlockLayout{DType::q3_k, "Q3_K", 256, 110, TypeUse::weight},
    BlockLayout{DType::q4_k, "Q4_K", 256, 144, TypeUse::weight},
    BlockLayout{DType::q5_k, "Q5_K", 256, 176, TypeUse::weight},
    BlockLayout{DType::q6_k, "Q6_K", 256, 210, TypeUse::weight},
    BlockLayout{DType::q8_k, "Q8_K", 256, 292, TypeUse::work},
    BlockLayout{DType::iq2_xxs, "IQ2_XXS", 256, 66, TypeUse::weight},
    BlockLayout{DType::iq2_xs, "IQ2_XS", 256, 74, TypeUse::weight},
    BlockLayout{DType::iq3_xxs, "IQ3_XXS", 256, 98, TypeUse::weight},
    BlockLayout{DType::iq1_s, "IQ1_S", 256, 50, TypeUse::weight},
    BlockLayout{DType::iq4_nl, "IQ4_NL", 32, 18, TypeUse::weight},
    BlockLayout{DType::iq3_s, "IQ3_S", 256, 110, TypeUse::weight},
    BlockLayout{DType::iq2_s, "IQ2_S", 256, 82, TypeUse::weight},
    BlockLayout{DType::iq4_xs, "IQ4_XS", 256, 136, TypeUse::weight},
    BlockLayout{DType::i8, "I8", 1, 1, TypeUse::integer},
    BlockLayout{DType::i16, "I16", 1, 2, TypeUse::integer},
    BlockLayout{DType::i32, "I32", 1, 4, TypeUse::integer},
    BlockLayout{DType::i64, "I64", 1, 8, TypeUse::integer},
    BlockLayout{DType::f64, "F64", 1, 8, TypeUse::integer},
    BlockLayout{DType::iq1_m, "IQ1_M", 256, 56, TypeUse::weight},
    BlockLayout{DType::bf16, "BF16", 1, 2, TypeUse::weight},
    BlockLayout{DType::tq1_0, "TQ1_0", 256, 54, TypeUse::weight},
    BlockLayout{DType::tq2_0, "TQ2_0", 256, 66, TypeUse::weight},
    BlockLayout{DType::mxfp4, "MXFP4", 32, 17, TypeUse::weight},
    BlockLayout{DType::nvfp4, "NVFP4", 64, 36, TypeUse::weight},
    BlockLayout{DType::q1_0, "Q1_0", 128, 18, TypeUse::weight},
    BlockLayout{DType::q2_0, "Q2_0", 64, 18, TypeUse::weight},
};

constexpr char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

}  // namespace

const BlockLayout* find_layout(std::uint32_t ggml_type_id) {
  for (const BlockLayout& l : kLayouts) {
    if (static_cast<std::uint32_t>(l.dtype) == ggml_type_id) {
      return &l;
    }
  }
  return nullptr;
}

const BlockLayout& layout(DType dtype) {
  const BlockLayout* l = find_layout(static_cast<std::uint32_t>(dtype));
  LM_ASSERT(l != nullptr, "a DType that is not in the table");
  return *l;
}

bool is_removed_type(std::uint32_t id) {
  return id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
}

const BlockLayout* find_layout_by_name(const char* name, std::size_t length) {
  for (const BlockLayout& l : kLayouts) {
    std::size_t i = 0;
    while (i < length && l.name[i] != '\0' && upper(name[i]) == l.name[i]) {
      ++i;
    }
    if (i == length && l.name[i] == '\0') {
      return &l;
    }
  }
  return nullptr;
}

}  // namespace lm
