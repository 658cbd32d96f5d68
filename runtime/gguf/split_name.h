/// File names of split sets: `<prefix>-00001-of-00003.gguf`, numbered from 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lm::gguf {

struct SplitName {
  std::string prefix;        ///< everything before "-00001-of-", folders included
  std::uint64_t number = 0;  ///< from 1
  std::uint64_t count = 0;
};

/// The parts of a split file's name, or nothing for any other name.
std::optional<SplitName> parse_split_name(std::string_view path);

/// The path of part `number` (from 1) of `count`.
std::string split_path(std::string_view prefix, std::uint64_t number, std::uint64_t count);

}  // namespace lm::gguf
