/// Shapes of models that people run, for questions that come without a file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/gguf/gguf_file.h"

namespace lm {

/// A decoder of the llama or qwen3 family. Source: the published configurations.
struct KnownShape {
  std::string_view name;
  std::string_view arch;  ///< llama, qwen3 or qwen3moe
  double params_b = 0;    ///< billions, as the name says it
  std::uint32_t n_layer = 0, n_embd = 0, n_ff = 0, n_head = 0, n_head_kv = 0, head_dim = 0;
  std::uint32_t n_vocab = 0, n_ctx = 0;
  bool tied = false;
  std::uint32_t n_expert = 0, n_used = 0;  ///< n_ff is then that of one expert
};

std::span<const KnownShape> known_shapes();
const KnownShape* find_known_shape(std::string_view name);
/// The shape nearest to a number of parameters, dense ones first.
const KnownShape& nearest_known_shape(double params_b);

/// The quant that people mean by bits a weight: 16 F16, 8 Q8_0, 6 Q6_K, 5 Q5_K_M, 4 Q4_K_M, 3
/// Q3_K_M, 2 Q2_K; empty for others.
std::string_view quant_of_bits(unsigned bits);

/// A header as a file of that shape and quant would have it, its data absent. The types of single
/// tensors follow the rules by which llama.cpp quantises. Errors: invalid_argument (unknown quant).
Result<GgufFile> shape_file(const KnownShape& shape, std::string_view quant);

}  // namespace lm
