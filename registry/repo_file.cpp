#include "registry/repo_file.h"

#include <array>

#include "registry/ascii.h"

namespace lm::registry {
namespace {

bool is_reserved_on_windows(std::string_view part) {
  constexpr std::array<std::string_view, 4> kDevices = {"con", "prn", "aux", "nul"};
  const std::string stem = to_lower(part.substr(0, part.find('.')));
  for (const std::string_view device : kDevices) {
    if (stem == device) {
      return true;
    }
  }
  return stem.size() == 4 && (stem.starts_with("com") || stem.starts_with("lpt")) &&
         stem[3] >= '1' && stem[3] <= '9';
}

}  // namespace

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > 1024 || path.front() == '/') {
    return false;
  }
  if (path.size() >= 2 && path[1] == ':') {
    return false;
  }
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') {
      return false;
    }
  }
  while (true) {
    const std::size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    if (part.empty() || part == "." || part == ".." || is_reserved_on_windows(part)) {
      return false;
    }
    if (end == path.npos) {
      return true;
    }
    path.remove_prefix(end + 1);
  }
}

}  // namespace lm::registry
