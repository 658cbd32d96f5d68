#include "server/api/answer_text.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <ctime>

#include <fmt/format.h>

namespace lm::api {

std::string time_text(Moment moment) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::time_t seconds = moment.unix_ns / kSecond;
  std::int64_t fraction = moment.unix_ns % kSecond;
  if (fraction < 0) {
    fraction += kSecond;
    --seconds;
  }
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, fraction);
}

std::int64_t unix_seconds(Moment moment) {
  return moment.unix_ns / 1'000'000'000;
}

std::string IdMaker::next(std::string_view prefix) {
  std::string id(prefix);
  for (int word = 0; word < 2; ++word) {
    // SplitMix64 (Steele, Lea, Flood 2014).
    state_ += 0x9E3779B97F4A7C15ull;
    std::uint64_t bits = state_;
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9ull;
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBull;
    bits ^= bits >> 31;
    for (int i = 0; i < 12; ++i) {
      id.push_back("abcdefghijklmnopqrstuvwxyz0123456789"[bits % 36]);
      bits /= 36;
    }
  }
  return id;
}

std::string sse_frame(std::string_view event, const Json& data) {
  std::string frame;
  if (!event.empty()) {
    frame += "event: ";
    frame += event;
    frame += '\n';
  }
  return frame + "data: " + dump(data) + "\n\n";
}

std::string warnings_header(const std::vector<std::string>& warnings) {
  constexpr std::size_t kMaxBytes = 4096;
  if (warnings.empty()) {
    return {};
  }
  std::string list;
  for (const std::string& warning : warnings) {
    const std::string text =
        Json(warning.substr(0, 1024)).dump(-1, ' ', true, Json::error_handler_t::replace);
    if (list.size() + text.size() > kMaxBytes) {
      break;
    }
    list += (list.empty() ? "" : ",") + text;
  }
  return "X-LM-Warnings: [" + list + "]\r\n";
}

Json arguments_json(const ToolCall& call) {
  Json arguments = Json::parse(call.arguments_json, nullptr, false);
  return arguments.is_object() ? arguments : Json(call.arguments_json);
}

namespace {

Json bytes_json(const std::string& bytes) {
  Json list = Json::array();
  for (const char c : bytes) {
    list.push_back(static_cast<unsigned char>(c));
  }
  return list;
}

Json token_json(const TokenLogprob& token) {
  return {{"token", token.bytes}, {"logprob", token.logprob}, {"bytes", bytes_json(token.bytes)}};
}

}  // namespace

Json logprobs_json(const std::vector<TokenLogprobs>& logprobs) {
  Json list = Json::array();
  for (const TokenLogprobs& token : logprobs) {
    Json entry = token_json(token.chosen);
    entry["top_logprobs"] = Json::array();
    for (const TokenLogprob& other : token.top) {
      entry["top_logprobs"].push_back(token_json(other));
    }
    list.push_back(std::move(entry));
  }
  return list;
}

std::string vector_text(const std::vector<float>& vector) {
  std::string text = "[";
  char digits[32];
  for (const float value : vector) {
    if (text.size() > 1) {
      text += ',';
    }
    const auto end = std::to_chars(digits, digits + sizeof(digits), value);
    text.append(digits, end.ptr);
  }
  return text + "]";
}

std::string vector_base64(const std::vector<float>& vector) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  bytes.reserve(vector.size() * 4);
  for (const float value : vector) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>(bits >> shift & 0xFF));
    }
  }
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += i + k <= bytes.size() ? kLetters[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

}  // namespace lm::api
