/// What a file that is not a GGUF looks like, for the error message.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace lm::gguf {

/// What is recognised by its first bytes (a few hundred are enough), and what its owner should do
/// about it.
struct FileKind {
  std::string_view description;  ///< "a Git LFS pointer, not the model"; completes "looks like ..."
  std::string_view hint;
};

FileKind recognise(std::span<const std::byte> head);

}  // namespace lm::gguf
