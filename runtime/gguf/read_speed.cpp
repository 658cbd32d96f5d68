#include "runtime/gguf/read_speed.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

namespace lm {
namespace {

constexpr std::uint64_t kRead = 4u << 20;
constexpr std::uint64_t kAlign = 4096;  // of what O_DIRECT reads: address, offset, length
constexpr int kReads = 32;
constexpr double kSeconds = 0.5;

/// Owned, or borrowed where it can't be opened again.
class Reader {
 public:
  explicit Reader(int fd)
      : direct_(
            ::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)),
        fd_(fd) {}
  ~Reader() { drop_direct(); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  ssize_t read(void* to, std::uint64_t offset) {
    if (direct_ >= 0) {
      const ssize_t n = ::pread(direct_, to, kRead, static_cast<off_t>(offset));
      if (n >= 0 || errno != EINVAL) {
        return n;
      }
      drop_direct();  // accepted at open, refused at the first read: some network file systems
    }
    posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(kRead), POSIX_FADV_DONTNEED);
    return ::pread(fd_, to, kRead, static_cast<off_t>(offset));
  }

 private:
  void drop_direct() {
    if (direct_ >= 0) {
      ::close(direct_);
      direct_ = -1;
    }
  }

  int direct_;
  int fd_;
};

}  // namespace

Result<double> read_speed(int fd, std::uint64_t size) {
  using Clock = std::chrono::steady_clock;
  const std::unique_ptr<void, decltype(&std::free)> block(std::aligned_alloc(kAlign, kRead),
                                                          &std::free);
  if (!block) {
    return fail(ErrorCode::out_of_memory, "disk", "4 MiB to read into are wanted");
  }
  Reader reader(fd);
  const std::uint64_t apart = std::max(size / kReads / kAlign * kAlign, kRead);
  std::uint64_t total = 0;
  const auto begin = Clock::now();
  double seconds = 0.0;
  for (std::uint64_t offset = 0; offset < size && seconds < kSeconds; offset += apart) {
    const ssize_t n = reader.read(block.get(), offset);
    if (n < 0) {
      return fail(ErrorCode::io, "disk", "the model file can't be read", {}, errno);
    }
    total += static_cast<std::uint64_t>(n);
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  return total == 0 || seconds <= 0.0 ? 0.0 : static_cast<double>(total) / seconds;
}

}  // namespace lm
