/// What goes wrong between a client and the engine, as every API says it in its own words.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "backends/error.h"

namespace lm::api {

/// Whose way of writing errors and streams.
enum class Dress : std::uint8_t { native, openai, anthropic };

/// A failure on its way to a client.
struct ApiError {
  int status = 400;
  std::string code;     ///< stable, for programs: "context_length_exceeded", "invalid_argument" …
  std::string message;  ///< one line: field, what is wrong, what to do
  std::string param;    ///< the field; may be empty
};

template <class T>
using ApiResult = std::expected<T, ApiError>;

/// A request that will never be right as it is (400), about the field `param`.
std::unexpected<ApiError> refuse(std::string param, std::string message,
                                 std::string code = "invalid_argument");

/// An error of the engine with a request as the server answers it: 400 for what was asked, 503 for
/// what passes, 499 for a request that was stopped, 500 for what is wrong with model or machine.
ApiError api_error(const Error& error);
/// An error while a model was loaded: 507 when it does not fit, 503 for what passes, else 500.
ApiError load_error(const Error& error);

/// Body of an error answer, without a line end. `request_id` is shown by the Anthropic API only.
std::string error_body(Dress dress, const ApiError& error, std::string_view request_id = {});

/// Headers that tell a client whether to come again; each ends with CR LF. Empty for most errors.
std::string retry_headers(const ApiError& error);

/// The dress of a path: "/v1/messages" Anthropic's, other "/v1/" OpenAI's, else native.
Dress dress_of_path(std::string_view path);

}  // namespace lm::api
