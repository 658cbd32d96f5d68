/// What the answers of OpenAI's endpoints share.
#pragma once

#include <cstdint>
#include <string_view>

#include "server/api/body_json.h"

namespace lm::api {

inline constexpr std::string_view kFingerprint = "fp_lm";

/// The `usage` object.
inline Json openai_usage(std::uint32_t prompt, std::uint32_t generated, std::uint32_t cached) {
  return {{"prompt_tokens", prompt},
          {"completion_tokens", generated},
          {"total_tokens", prompt + generated},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

}  // namespace lm::api
