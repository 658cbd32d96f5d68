/// What to expect of a model whose weights are larger than memory.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/gguf/gguf_file.h"
#include "runtime/plan/plan.h"

namespace lm {

/// One sentence for people: what is needed and free, and the tok/s when a token's weights come from
/// the disk each time (measured by a short read of the file). `one_row` is the plan of one token.
std::string paging_note(const GgufFile& file, const Plan& one_row, std::uint64_t needed_bytes,
                        std::uint64_t free_bytes);

}  // namespace lm
