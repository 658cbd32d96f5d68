#include "cmd/text_file.h"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/fd.h"

namespace lm::cmd {
namespace {

std::unexpected<Failure> system_failure(const std::string& path, std::string problem, int error) {
  Failure failed("io", path, std::move(problem));
  failed.os_error = error;
  return std::unexpected(std::move(failed));
}

}  // namespace

Result<std::string> read_text_file(const std::string& path, std::size_t max_bytes) {
  const bool from_stdin = path == "-";
  const store::Fd fd(from_stdin ? ::dup(STDIN_FILENO)
                                : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) {
    return system_failure(path, "can't be opened", errno);
  }
  if (!from_stdin && !S_ISREG(info.st_mode)) {
    return failure("not_a_file", path, "is no regular file",
                   "name a file, or - for standard input");
  }
  std::string text;
  std::string chunk(64 * 1024, '\0');
  while (true) {
    const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n == 0) {
      return text;
    }
    if (n < 0 && errno != EINTR) {
      return system_failure(path, "can't be read", errno);
    }
    text.append(chunk, 0, n < 0 ? 0 : static_cast<std::size_t>(n));
    if (text.size() > max_bytes) {
      return failure("limit_exceeded", path, fmt::format("has more than {} bytes", max_bytes));
    }
  }
}

}  // namespace lm::cmd
