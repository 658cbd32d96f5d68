/// Headers of one model's quants: they differ in types and sizes of tensors, hardly in metadata, of
/// which the vocabulary is megabytes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/gguf/gguf_file.h"

namespace lm {

/// The header of `name` (`size` bytes), of which `fetch` gives ranges. Its metadata is taken from
/// the first of `siblings` that has the same counts of keys and tensors, if its tensor table then
/// reads as one with that sibling's names and shapes; else everything is fetched. general.file_type
/// is the sibling's: ask whoever named the file for its quant. Errors: those of GgufFile::read and
/// of `fetch`.
Result<GgufFile> read_header_like(std::span<const GgufFile* const> siblings, std::string name,
                                  std::uint64_t size, RangedSource::Fetch fetch);

/// Ranges of a file of which only these first bytes are known; the rest reads as zeros.
RangedSource::Fetch known_header(std::vector<std::byte> header);

/// The header of a file of which `fetch` gives ranges.
Result<GgufFile> read_header(std::string name, std::uint64_t size, RangedSource::Fetch fetch);

}  // namespace lm
