#include "cmd/output.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "cmd/signals.h"

namespace lm::cmd {
namespace {

constexpr std::size_t kQueueBytes = 64 * 1024;

std::string& queue() {
  static std::string bytes;
  return bytes;
}

/// Writes everything to a descriptor; false with errno set when that fails.
bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (errno == EAGAIN) {
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

void print(std::string_view text) {
  queue() += text;
  if (queue().size() >= kQueueBytes) {
    flush();
  }
}

void flush() {
  const std::string bytes = std::exchange(queue(), {});
  if (write_all(STDOUT_FILENO, bytes)) {
    return;
  }
  const int error = errno;
  if (error == EPIPE) {
    leave_now(0);
  }
  const std::string line = fmt::format("Error: standard output: {}\n", std::strerror(error));
  write_all(STDERR_FILENO, line);
  leave_now(1);
}

void print_without_memory(std::string_view to_stdout, std::string_view to_stderr) noexcept {
  write_all(STDOUT_FILENO, queue());
  queue().clear();
  write_all(STDOUT_FILENO, to_stdout);
  write_all(STDERR_FILENO, to_stderr);
}

void print_to_stderr(std::string_view text) {
  if (!queue().empty()) {
    flush();
  }
  write_all(STDERR_FILENO, text);
}

}  // namespace lm::cmd
