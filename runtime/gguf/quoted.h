/// Names from a file, as error messages show them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <fmt/core.h>

namespace lm::gguf {

/// `name` in quotes; a very long one is cut, between two UTF-8 characters. Escaping for a terminal
/// is the printer's job.
inline std::string quoted(std::string_view name) {
  constexpr std::size_t kShown = 100;
  if (name.size() <= kShown) {
    return fmt::format("'{}'", name);
  }
  std::size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) {
    --end;
  }
  return fmt::format("'{}...' ({} bytes)", name.substr(0, end), name.size());
}

}  // namespace lm::gguf
