#include "registry/retry.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <random>

#include <curl/curl.h>
#include <fmt/format.h>

#include "registry/ascii.h"

namespace lm::registry {
namespace {

std::optional<long> whole_number(std::string_view text) {
  text = trimmed(text);
  long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    return std::nullopt;
  }
  return value;
}

/// The number after `;name=` in a structured field.
std::optional<long> parameter(std::string_view field, std::string_view name) {
  while (!field.empty()) {
    const std::size_t end = field.find(';');
    const std::string_view item = trimmed(field.substr(0, end));
    if (item.size() > name.size() && item.starts_with(name) && item[name.size()] == '=') {
      return whole_number(item.substr(name.size() + 1));
    }
    field = end == field.npos ? std::string_view{} : field.substr(end + 1);
  }
  return std::nullopt;
}

}  // namespace

bool is_transient_status(int status) {
  return status == 408 || (status >= 500 && status <= 599);
}

std::chrono::milliseconds backoff(int failures, std::chrono::milliseconds base) {
  thread_local std::minstd_rand random(std::random_device{}());
  const int exponent = std::clamp(failures - 1, 0, 4);
  const auto wait = static_cast<double>(base.count()) * static_cast<double>(1 << exponent);
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(wait * std::uniform_real_distribution<>(0.5, 1.5)(random)));
}

std::optional<std::chrono::seconds> asked_wait(const Headers& headers) {
  const std::string_view limit = headers.get("ratelimit");
  if (parameter(limit, "r") == 0) {
    if (const auto seconds = parameter(limit, "t")) {
      return std::chrono::seconds(std::min(*seconds, 1'000'000L) + 1);
    }
  }
  const std::string_view after = headers.get("retry-after");
  if (const auto seconds = whole_number(after)) {
    return std::chrono::seconds(std::min(*seconds, 1'000'000L));
  }
  if (!after.empty()) {
    const std::time_t date = curl_getdate(std::string(after).c_str(), nullptr);
    if (date >= 0) {
      return std::chrono::seconds(std::max<std::int64_t>(0, date - std::time(nullptr)));
    }
  }
  return std::nullopt;
}

Error rate_limited_error(const Url& url, std::optional<std::chrono::seconds> wait) {
  return {
      .code = ErrorCode::rate_limited,
      .subject = url.for_display(),
      .problem = wait ? fmt::format("too many requests; the hub asks to wait {} s", wait->count())
                      : "too many requests",
      .hint = wait ? fmt::format("run the command again in {} s; what was fetched is kept",
                                 wait->count())
                   : "run the command again in a few minutes; what was fetched is kept"};
}

Error status_error(const Url& url, int status, const Headers& headers) {
  const bool transient = is_transient_status(status);
  return {.code = ErrorCode::http,
          .subject = url.for_display(),
          .problem = fmt::format("the server answered {}{}", status, request_id_note(headers)),
          .hint = transient ? "run the command again later; what was fetched is kept" : ""};
}

}  // namespace lm::registry
