#include "store/error.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace lm::store {

std::string_view code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::already_exists:
      return "already_exists";
    case ErrorCode::invalid_name:
      return "invalid_name";
    case ErrorCode::io:
      return "io";
    case ErrorCode::no_space:
      return "no_space";
    case ErrorCode::read_only:
      return "read_only";
    case ErrorCode::locked:
      return "locked";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::newer_schema:
      return "newer_schema";
    case ErrorCode::digest_mismatch:
      return "digest_mismatch";
    case ErrorCode::size_mismatch:
      return "size_mismatch";
    case ErrorCode::unauthorized:
      return "unauthorized";
    case ErrorCode::gated:
      return "gated";
    case ErrorCode::offline:
      return "offline";
    case ErrorCode::network:
      return "network";
    case ErrorCode::http:
      return "http";
    case ErrorCode::rate_limited:
      return "rate_limited";
    case ErrorCode::protocol:
      return "protocol";
    case ErrorCode::ambiguous:
      return "ambiguous";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::limit_exceeded:
      return "limit_exceeded";
    case ErrorCode::interrupted:
      return "interrupted";
    case ErrorCode::invalid_argument:
      return "invalid_argument";
  }
  return "unknown";
}

Error errno_error(std::string subject, std::string_view call, int error_number) {
  Error error{.code = ErrorCode::io,
              .subject = std::move(subject),
              .problem = {},
              .os_error = error_number};
  error.problem = fmt::format("{}: {}", call, std::strerror(error_number));
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      error.code = ErrorCode::no_space;
      error.hint = "free some space (lm prune removes what no model uses) and try again";
      break;
    case EROFS:
      error.code = ErrorCode::read_only;
      error.hint =
          "the file system is mounted read-only; set LM_HOME to a folder that can be written";
      break;
    case ENOENT:
      error.code = ErrorCode::not_found;
      break;
    case EACCES:
    case EPERM:
      error.hint = "check the owner and the permissions of the folder that LM_HOME names";
      break;
    case EMFILE:
    case ENFILE:
      error.hint = "too many files are open; raise the limit (ulimit -n)";
      break;
    default:
      break;
  }
  return error;
}

}  // namespace lm::store
