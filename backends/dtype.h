/// Element types of tensors and how their blocks lie in memory: the only table of its kind.
/// C++17, because .cu files include it. Layouts and formulas: GGUF's type table (ids are those of
/// the files).
#pragma once

#include <cstddef>
#include <cstdint>

namespace lm {

/// ggml type ids, as stored in a GGUF tensor table.
enum class DType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q8_1 = 9,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  q8_k = 15,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  iq1_m = 29,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
  q1_0 = 41,
  q2_0 = 42,
};

/// What a file may do with a type.
enum class TypeUse : std::uint8_t {
  weight,   ///< may hold model weights
  integer,  ///< plain integers and f64: may stand in a file, never multiplied
  work,     ///< activations only, never in a file's weights
};

/// One row of the type table: a row of n values takes n / block_elems * block_bytes bytes.
struct BlockLayout {
  DType dtype;
  const char* name;  ///< upper case, as users spell it: "Q4_K"
  std::uint32_t block_elems;
  std::uint32_t block_bytes;
  TypeUse use;
};

/// The row of `dtype`, or null for an id that is no type (unknown or removed from the format).
const BlockLayout* find_layout(std::uint32_t ggml_type_id);

/// The row of a valid type.
const BlockLayout& layout(DType dtype);

/// True for ids once used and now removed (4, 5, 31-33, 36-38): such a file must be requantised.
bool is_removed_type(std::uint32_t ggml_type_id);

/// Bytes of one row of `n` values; n must be a multiple of the block size.
inline std::uint64_t row_bytes(DType dtype, std::uint64_t n) {
  const BlockLayout& l = layout(dtype);
  return n / l.block_elems * l.block_bytes;
}

/// Finds a type by its name in any case ("q4_k"), or null.
const BlockLayout* find_layout_by_name(const char* name, std::size_t length);

}  // namespace lm
