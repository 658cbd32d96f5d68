#include "backends/error.h"

namespace lm {

std::string_view code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::io:
      return "io";
    case ErrorCode::not_a_file:
      return "not_a_file";
    case ErrorCode::bad_magic:
      return "bad_magic";
    case ErrorCode::unsupported_version:
      return "unsupported_version";
    case ErrorCode::truncated:
      return "truncated";
    case ErrorCode::limit_exceeded:
      return "limit_exceeded";
    case ErrorCode::duplicate:
      return "duplicate";
    case ErrorCode::overlap:
      return "overlap";
    case ErrorCode::bad_value:
      return "bad_value";
    case ErrorCode::missing:
      return "missing";
    case ErrorCode::shape_mismatch:
      return "shape_mismatch";
    case ErrorCode::unsupported_arch:
      return "unsupported_arch";
    case ErrorCode::unsupported_type:
      return "unsupported_type";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::bad_template:
      return "bad_template";
    case ErrorCode::template_refused:
      return "template_refused";
    case ErrorCode::bad_vocab:
      return "bad_vocab";
    case ErrorCode::context_exceeded:
      return "context_exceeded";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::non_finite:
      return "non_finite";
    case ErrorCode::device_lost:
      return "device_lost";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::module:
      return "module";
    case ErrorCode::busy:
      return "busy";
  }
  return "unknown";
}

}  // namespace lm
