#include "store/process.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

namespace lm::store {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Field 22 of stat(5). The second field is the program's name in parentheses and may hold blanks
// and parentheses, so counting starts behind the last ')'.
std::optional<std::int64_t> start_ticks(std::int64_t pid) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", pid));
  const std::size_t close = line.rfind(')');
  if (close == std::string::npos) {
    return std::nullopt;
  }
  std::string_view rest = std::string_view(line).substr(close + 1);
  constexpr int kFieldsBetween = 20;  // the third field is the first behind the name
  for (int i = 0; i < kFieldsBetween; ++i) {
    const std::size_t blank = rest.find(' ');
    if (blank == std::string_view::npos) {
      return std::nullopt;
    }
    rest.remove_prefix(blank + 1);
  }
  std::int64_t ticks = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), ticks).ec != std::errc()) {
    return std::nullopt;
  }
  return ticks;
}

std::string boot_id() {
  return first_line("/proc/sys/kernel/random/boot_id");
}

std::string pid_namespace() {
  std::array<char, 64> link{};
  const ssize_t length = ::readlink("/proc/self/ns/pid", link.data(), link.size());
  return length > 0 ? std::string(link.data(), static_cast<std::size_t>(length)) : std::string();
}

}  // namespace

ProcessMark this_process() {
  ProcessMark mark;
  mark.pid = ::getpid();
  mark.boot = boot_id() + " " + pid_namespace();
  mark.start_ticks = start_ticks(mark.pid).value_or(0);
  return mark;
}

bool may_be_alive(const ProcessMark& mark) {
  const std::string boot = boot_id();
  if (!mark.boot.starts_with(boot + " ")) {
    return false;
  }
  if (mark.boot.substr(boot.size() + 1) != pid_namespace()) {
    return true;
  }
  if (mark.pid <= 0 || (::kill(static_cast<pid_t>(mark.pid), 0) != 0 && errno == ESRCH)) {
    return false;
  }
  const auto ticks = start_ticks(mark.pid);
  // Without /proc there is only the pid to go by.
  return !ticks || *ticks == mark.start_ticks;
}

}  // namespace lm::store
