/// Small pieces that answers are written with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/message.h"
#include "server/api/answer.h"
#include "server/api/body_json.h"

namespace lm::api {

/// RFC 3339 with nanoseconds, UTC: "2026-01-31T12:00:00.123456789Z".
std::string time_text(Moment moment);
std::int64_t unix_seconds(Moment moment);

/// Ids that follow from a seed: prefix and 24 letters and digits.
class IdMaker {
 public:
  explicit IdMaker(std::uint64_t seed) : state_(seed) {}
  std::string next(std::string_view prefix);

 private:
  std::uint64_t state_;
};

/// "data: …" and an empty line, with "event: …" before it when `event` is not empty.
std::string sse_frame(std::string_view event, const Json& data);

/// "X-LM-Warnings: [...]" as ASCII, at most 4 KiB of it; empty without warnings.
std::string warnings_header(const std::vector<std::string>& warnings);

/// The arguments of a call as an object; what is none is kept as text.
Json arguments_json(const ToolCall& call);

/// Log-probabilities in the form that the native and the OpenAI API share.
Json logprobs_json(const std::vector<TokenLogprobs>& logprobs);

/// A vector as a JSON array, each value as short as it can be read back.
std::string vector_text(const std::vector<float>& vector);
/// Its bytes (little-endian f32) in base64.
std::string vector_base64(const std::vector<float>& vector);

}  // namespace lm::api
