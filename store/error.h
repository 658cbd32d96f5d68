/// Errors of the left column: store and registry. A value, never an exception; `cmd/report.cpp`
/// turns it into text.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace lm::store {

/// What went wrong, by kind. The names of `code_name` are stable: scripts read them through --json.
enum class ErrorCode {
  not_found,  ///< no such model, blob, repository, revision or file
  already_exists,
  invalid_name,  ///< a model name or digest that breaks its grammar (exit code 2)
  io,            ///< a system call failed; `os_error` is its errno
  no_space,
  read_only,
  locked,
  corrupt,       ///< our own files are damaged
  newer_schema,  ///< the store was written by a newer lm
  digest_mismatch,
  size_mismatch,
  unauthorized,  ///< token missing or wrong
  gated,         ///< the repository wants its terms accepted
  offline,       ///< LM_OFFLINE forbids the request
  network,       ///< connect, DNS, TLS, stall, reset
  http,          ///< a status that nothing else describes
  rate_limited,
  protocol,  ///< an answer that breaks the hub's protocol
  ambiguous,
  unsupported,
  limit_exceeded,
  interrupted,  ///< SIGINT or SIGTERM (exit code 130)
  invalid_argument,
};

/// Stable lower-case name of a code, for example "digest_mismatch".
std::string_view code_name(ErrorCode code);

/// One failure, as data. `subject` names the file, URL, field or model; `problem` says what is
/// wrong with it (got, expected); `hint` says what to do next; `os_error` is an errno or 0. None of
/// them is escaped for a terminal.
struct Error {
  ErrorCode code = ErrorCode::io;
  std::string subject;
  std::string problem;
  std::string hint = {};
  int os_error = 0;
};

/// The error of a failed system call on `path`; maps ENOSPC/EDQUOT to no_space and EROFS to
/// read_only.
Error errno_error(std::string subject, std::string_view call, int error_number);

template <class T>
using Result = std::expected<T, Error>;

}  // namespace lm::store

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
