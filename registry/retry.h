/// When to try again, and how long to wait before: hub-protocol.md 4 and 10.
#pragma once

#include <chrono>
#include <optional>

#include "registry/http.h"

namespace lm::registry {

/// 408, 500, 502, 503, 504 and the unnamed rest of the 5xx.
bool is_transient_status(int status);

/// base * 2^(failures-1), capped at 16 * base, times a jitter of 0.5 to 1.5. `failures` >= 1.
std::chrono::milliseconds backoff(int failures, std::chrono::milliseconds base);

/// What a 429 asks for: `RateLimit: ...;r=0;t=55` gives t+1 s, else Retry-After (seconds or date);
/// empty when neither is there. Never negative.
std::optional<std::chrono::seconds> asked_wait(const Headers& headers);

/// The error of an answer with status 429, with the seconds left.
Error rate_limited_error(const Url& url, std::optional<std::chrono::seconds> wait);
/// The error of any other refused answer.
Error status_error(const Url& url, int status, const Headers& headers);

}  // namespace lm::registry
