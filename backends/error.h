/// Errors of the right column: backends and runtime. A value, never an exception; `cmd/report.cpp`
/// turns it into text.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace lm {

/// What went wrong, by kind. The names of `code_name` are stable: scripts read them through --json.
enum class ErrorCode {
  io,          ///< a system call failed; `os_error` is its errno
  not_a_file,  ///< directory, FIFO, socket, device
  bad_magic,   ///< not a GGUF
  unsupported_version,
  truncated,
  limit_exceeded,  ///< a count or length above the limits of the reader
  duplicate,
  overlap,
  bad_value,  ///< a field with a value that can't be right
  missing,    ///< a key, tensor or part that must be there
  shape_mismatch,
  unsupported_arch,
  unsupported_type,
  unsupported,  ///< anything else that lm knows and can't do
  bad_template,
  template_refused,  ///< the template itself called raise_exception
  bad_vocab,
  context_exceeded,
  out_of_memory,
  non_finite,  ///< NaN or Inf in the logits
  device_lost,
  cancelled,  ///< stopped by request (exit code 130)
  invalid_argument,
  module,  ///< a backend module can't be loaded
  busy,    ///< queue full
};

/// Stable lower-case name of a code, for example "shape_mismatch".
std::string_view code_name(ErrorCode code);

/// One failure, as data. `subject` names the file, key, tensor or field; `problem` says what is
/// wrong with it (got, expected); `hint` says what to do next; `os_error` is an errno or a driver's
/// code, or 0. Not escaped for a terminal.
struct Error {
  ErrorCode code = ErrorCode::io;
  std::string subject;
  std::string problem;
  std::string hint = {};
  int os_error = 0;
};

template <class T>
using Result = std::expected<T, Error>;

/// Makes the unexpected value: `return fail(ErrorCode::missing, "tensor 'output.weight'", "is not
/// in the file");`
inline std::unexpected<Error> fail(ErrorCode code, std::string subject, std::string problem,
                                   std::string hint = {}, int os_error = 0) {
  return std::unexpected(
      Error{code, std::move(subject), std::move(problem), std::move(hint), os_error});
}

}  // namespace lm

// Propagation. LM_TRY(decl, expr): decl = value of expr, or return its error. LM_CHECK(expr): only
// the error.
#ifndef LM_TRY
#define LM_TRY_CAT2(a, b) a##b
#define LM_TRY_CAT(a, b) LM_TRY_CAT2(a, b)
#define LM_TRY_AS(tmp, decl, expr)                  \
  auto tmp = (expr);                                \
  if (!tmp)                                         \
    return std::unexpected(std::move(tmp).error()); \
  decl = std::move(*tmp)
#define LM_TRY(decl, expr) LM_TRY_AS(LM_TRY_CAT(lm_try_, __COUNTER__), decl, expr)
#define LM_CHECK(expr)                                     \
  do {                                                     \
    if (auto lm_check = (expr); !lm_check)                 \
      return std::unexpected(std::move(lm_check).error()); \
  } while (false)
#endif

/// For our own mistakes only, never for bytes from outside. Stays on in release builds.
#define LM_ASSERT(cond, msg)                                                             \
  do {                                                                                   \
    if (!(cond)) {                                                                       \
      std::fprintf(stderr, "lm: bug: %s (%s:%d): %s\n", #cond, __FILE__, __LINE__, msg); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
