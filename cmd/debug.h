/// The commands of `lm debug`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/command.h"
#include "runtime/tokenizer/tokenizer.h"

namespace lm::cmd {

Result<ExitCode> debug_tokenize(CommandLine& line);
Result<ExitCode> debug_detokenize(CommandLine& line);
Result<ExitCode> debug_render(CommandLine& line);
Result<ExitCode> debug_logits(CommandLine& line);
Result<ExitCode> debug_tensor(CommandLine& line);
Result<ExitCode> debug_grammar(CommandLine& line);

/// Ids between separators, each in [0, n_vocab). Errors: usage (no number), invalid_argument (out
/// of range).
Result<std::vector<Token>> parse_ids(std::string_view text, std::string_view separators,
                                     std::uint64_t n_vocab);

/// A float with nine significant digits: reads back to the same bits. NaN and infinities, which
/// JSON lacks, are null.
std::string json_float(float value);

}  // namespace lm::cmd
