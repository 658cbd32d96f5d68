/// The words of answers: status lines, dates, what browsers are told.
#pragma once

#include <string>
#include <string_view>

namespace lm::server {

/// "Not Found" for 404.
std::string_view reason_of(int status);
/// Now, as the Date field wants it.
std::string http_date();
/// A header value without bytes that would end it.
std::string field_value(std::string_view text);

inline constexpr std::string_view kCorsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
inline constexpr std::string_view kCorsFields =
    "Authorization, Content-Type, User-Agent, Accept, X-Requested-With, OpenAI-Beta, x-api-key, "
    "anthropic-version, anthropic-beta, x-stainless-arch, x-stainless-async, "
    "x-stainless-custom-poll-interval, x-stainless-helper-method, x-stainless-lang, "
    "x-stainless-os, x-stainless-package-version, x-stainless-poll-helper, "
    "x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, "
    "x-stainless-timeout";

}  // namespace lm::server
