/// The merges of a file, by the ids that they join.
#pragma once

#include <string>
#include <vector>

#include "runtime/gguf/metadata.h"
#include "runtime/tokenizer/token_index.h"

namespace lm::tokenizer {

/// Reads tokenizer.ggml.merges. Merges of texts that are no tokens, or that would make a control,
/// unknown or unused token, are left out; `warnings` gets how many of the former. Errors: missing,
/// bad_vocab (a merge without a space, or with nothing on one side of it).
Result<MergeIndex> read_merges(const Metadata& metadata, const Vocab& vocab,
                               const TokenIndex& index, std::vector<std::string>* warnings);

}  // namespace lm::tokenizer
