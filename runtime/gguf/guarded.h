/// Failed allocations as errors: everything in this folder that allocates runs inside `guarded`.
#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "backends/error.h"

namespace lm::gguf {

/// The error of a failed allocation. Falls back to short texts, which std::string holds without
/// allocating.
inline Error out_of_memory(std::string_view subject) noexcept {
  try {
    return Error{ErrorCode::out_of_memory, std::string(subject),
                 "there is not enough memory to read it"};
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::out_of_memory, "GGUF", "out of memory"};
  }
}

/// Calls `fn`, which returns a Result; a std::bad_alloc inside becomes out_of_memory naming
/// `subject`.
template <class Fn>
auto guarded(std::string_view subject, Fn&& fn) -> decltype(fn()) {
  try {
    return std::forward<Fn>(fn)();
  } catch (const std::bad_alloc&) {
    return std::unexpected(out_of_memory(subject));
  } catch (const std::length_error&) {
    return std::unexpected(out_of_memory(subject));
  }
}

}  // namespace lm::gguf
