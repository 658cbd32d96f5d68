// Preloaded into a program under test: its wall clock is 25 hours ahead, so that what has to be a
// day old can be made just now.
#include <ctime>

#include <sys/syscall.h>
#include <unistd.h>

namespace {
constexpr std::time_t kAhead = 25 * 3600;
}

extern "C" int clock_gettime(clockid_t clock, std::timespec* now) noexcept {
  const long failed = ::syscall(SYS_clock_gettime, clock, now);
  if (failed == 0 && clock == CLOCK_REALTIME) {
    now->tv_sec += kAhead;
  }
  return static_cast<int>(failed);
}

extern "C" std::time_t time(std::time_t* out) noexcept {
  std::timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) {
    *out = now.tv_sec;
  }
  return now.tv_sec;
}
