/// What makes an architecture: how its numbers are read and what its block looks like.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/model/hparams.h"
#include "runtime/plan/placement.h"

namespace lm {

/// Whether a tensor must, may or must not be there.
enum class Need : std::uint8_t { none, optional, required };

/// Options of one decoder block: x += attn(norm(x)); x += ffn(norm(x)). Defaults are plain llama.
struct BlockSpec {
  RopeKind rope = RopeKind::pairs;
  Need qkv_bias = Need::none;
  Need output_bias = Need::none;  ///< attn_output.bias
  Need ffn_bias = Need::none;
  bool qk_norm = false;  ///< RMS norm of each head of q and k before rope
  Activation activation = Activation::silu;
  std::uint32_t window = 0;  ///< sliding window in tokens; 0: full
};

/// One architecture: a file of runtime/arch and a row in registry.cpp.
struct Architecture {
  std::string_view name;  ///< general.architecture
  Result<Hparams> (*read)(const ArchKeys& keys, const Metadata& metadata);
  BlockSpec (*block)(const Hparams& hparams, std::uint32_t layer);
  Need output_weight =
      Need::optional;  ///< optional: a missing output.weight means token_embd.weight
  Need output_norm_bias = Need::none;
};

std::span<const Architecture* const> architectures();
const Architecture* find_architecture(std::string_view name);
/// The supported names, for messages, and the one nearest to `name`.
std::string supported_architectures();
std::string_view nearest_architecture(std::string_view name);

/// Where a tensor is needed.
enum class Role : std::uint8_t { embedding, output, attention, ffn, experts, constant };

/// A tensor that an architecture reads, with the shape that follows from the hyper-parameters.
struct TensorSpec {
  std::string name;
  std::uint64_t cols = 0;
  std::uint64_t rows = 0;  ///< 1 for vectors
  Need need = Need::required;
  Role role = Role::constant;
  std::uint32_t layer = 0;
  std::vector<std::string>
      instead;  ///< tensors that together replace it when it is absent (tied, packed)
};

/// Tensors of a decoder made of BlockSpec blocks.
std::vector<TensorSpec> decoder_tensors(const Hparams& hparams, const Architecture& architecture);

}  // namespace lm
