#include "server/api/api_error.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace lm::api {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string_view openai_type(int status) {
  switch (status) {
    case 400:
    case 413:
    case 415:
      return "invalid_request_error";
    case 404:
      return "not_found_error";
    default:
      return "api_error";
  }
}

std::string_view anthropic_type(int status) {
  switch (status) {
    case 400:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    default:
      return "api_error";
  }
}

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::bad_value:
    case ErrorCode::limit_exceeded:
    case ErrorCode::missing:
    case ErrorCode::unsupported:
    case ErrorCode::context_exceeded:
    case ErrorCode::template_refused:
      return 400;
    case ErrorCode::busy:
    case ErrorCode::out_of_memory:
    case ErrorCode::device_lost:
      return 503;
    case ErrorCode::cancelled:
      return 499;
    default:
      return 500;
  }
}

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

}  // namespace

std::unexpected<ApiError> refuse(std::string param, std::string message, std::string code) {
  return std::unexpected(ApiError{400, std::move(code), std::move(message), std::move(param)});
}

ApiError api_error(const Error& error) {
  ApiError out;
  out.status = status_of(error.code);
  out.code = error.code == ErrorCode::context_exceeded ? "context_length_exceeded"
                                                       : std::string(code_name(error.code));
  if (error.code == ErrorCode::busy) {
    out.message = "server busy: ";
  }
  out.message += error.subject;
  // "format: no text …", but "prompt has 20 tokens".
  const bool sentence = error.problem.starts_with("is ") || error.problem.starts_with("has ") ||
                        error.problem.starts_with("holds ") || error.problem.starts_with("asks ") ||
                        error.problem.starts_with("names ");
  if (!error.subject.empty()) {
    out.message += sentence ? " " : ": ";
  }
  out.message += error.problem;
  // Hints of the engine name flags of the command line, which a client has not.
  if (!error.hint.empty() && !error.hint.contains("--")) {
    out.message += "; " + error.hint;
  }
  if (out.status == 400) {
    out.param = error.subject;
  }
  return out;
}

ApiError load_error(const Error& error) {
  ApiError out = api_error(error);
  if (error.code == ErrorCode::out_of_memory) {
    out.status = 507;
  } else if (out.status == 400) {
    out.status = 500;
    out.param.clear();
  }
  return out;
}

std::string error_body(Dress dress, const ApiError& error, std::string_view request_id) {
  switch (dress) {
    case Dress::native:
      return dump(Json{{"error", error.message}});
    case Dress::openai:
      return dump(Json{{"error",
                        {{"message", error.message},
                         {"type", openai_type(error.status)},
                         {"param", or_null(error.param)},
                         {"code", or_null(error.code)}}}});
    case Dress::anthropic: {
      Json body{{"type", "error"},
                {"error", {{"type", anthropic_type(error.status)}, {"message", error.message}}}};
      if (!request_id.empty()) {
        body["request_id"] = request_id;
      }
      return dump(body);
    }
  }
  return {};
}

std::string retry_headers(const ApiError& error) {
  if (error.status == 503) {
    return "Retry-After: 1\r\n";
  }
  // Sending a request again to a model that is bad or too large changes nothing.
  if (error.status == 507 || error.status == 500) {
    return "x-should-retry: false\r\n";
  }
  return {};
}

Dress dress_of_path(std::string_view path) {
  if (path == "/v1/messages" || path.starts_with("/v1/messages/")) {
    return Dress::anthropic;
  }
  return path.starts_with("/v1/") ? Dress::openai : Dress::native;
}

}  // namespace lm::api
