/// The two ways in which streams are cut into frames.
#pragma once

#include <string>
#include <string_view>

namespace lm::server {

inline constexpr std::string_view kNdjson = "application/x-ndjson";
inline constexpr std::string_view kEventStream = "text/event-stream";

/// One JSON text as a line. The text holds no line break: JSON escapes them.
inline std::string ndjson_frame(std::string_view json) {
  std::string frame(json);
  frame += '\n';
  return frame;
}

/// One server-sent event; `name` may be empty.
inline std::string sse_frame(std::string_view json, std::string_view name = {}) {
  std::string frame;
  if (!name.empty()) {
    frame.append("event: ").append(name).append("\n");
  }
  return frame.append("data: ").append(json).append("\n\n");
}

}  // namespace lm::server
