/// Quantisation labels in GGUF file names: "Q4_K_M", "UD-Q4_K_XL", "i1-IQ4_XS". hub-protocol.md 8.
#pragma once

#include <string>
#include <string_view>

namespace lm::registry {

/// Label at the end of a file name (folder, shard suffix and ".gguf" may be there), upper case but
/// for an "i1-" prefix; empty when the name has none. FP16 and FP32 read F16 and F32.
std::string label_of_file(std::string_view path);

/// `text` as a label when it is one ("q4_k_m", "Q4-K-M", "fp16"), else empty.
std::string label_of_text(std::string_view text);

/// Without "UD-" or "i1-".
std::string_view without_prefix(std::string_view label);

/// Bits of a weight, about: 4 for Q4_K_M, 16 for F16; 0 for no label. Orders labels that no rule
/// names.
int label_bits(std::string_view label);

/// Place in the default order of hub-protocol.md 8.5 (0 is best), or -1 for labels it doesn't name.
int default_rank(std::string_view label);

}  // namespace lm::registry
