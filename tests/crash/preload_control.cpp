#include "tests/crash/preload_control.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace lm::crash {
namespace {

ControlPage* map_page() {
  const char* path = std::getenv(kPageVariable);
  if (path == nullptr) {
    return nullptr;
  }
  const long fd = ::syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) {
    return nullptr;
  }
  void* mapped = ::mmap(nullptr, sizeof(ControlPage), PROT_READ | PROT_WRITE, MAP_SHARED,
                        static_cast<int>(fd), 0);
  ::syscall(SYS_close, fd);
  return mapped == MAP_FAILED ? nullptr : static_cast<ControlPage*>(mapped);
}

ControlPage* g_page = nullptr;

__attribute__((constructor(101))) void begin() {
  g_page = map_page();
}

bool ends_with(const char* text, const char* end) {
  const std::size_t n = std::strlen(text);
  const std::size_t n_end = std::strlen(end);
  return n >= n_end && std::memcmp(text + (n - n_end), end, n_end) == 0;
}

}  // namespace

ControlPage* page() {
  return g_page;
}

void end_process() {
  for (;;) {
    ::syscall(SYS_kill, ::getpid(), SIGKILL);
  }
}

Verdict next_call(std::uint32_t kinds, const char* name, const char* path) {
  ControlPage* const p = page();
  if (p == nullptr || (p->counted & kinds) == 0 || !ends_with(path, p->only)) {
    return {};
  }
  const std::uint64_t call = p->calls.fetch_add(1) + 1;
  const bool hit = p->fault == Fault::fail_from ? call >= p->at : call == p->at;
  if (p->fault == Fault::none || !hit) {
    return {};
  }
  if (p->hits.fetch_add(1) == 0) {
    // Not snprintf: it may ask for memory, and this may be the allocator.
    std::size_t at = 0;
    for (const char* text : {name, " ", path}) {
      for (; *text != '\0' && at + 1 < sizeof p->hit; ++text) {
        p->hit[at++] = *text;
      }
    }
    p->hit[at] = '\0';
  }
  if (p->fault == Fault::kill) {
    end_process();
  }
  if (p->fault == Fault::kill_torn) {
    return {.error = 0, .half = true, .last = true};
  }
  return p->error == kShortWrite ? Verdict{.half = true} : Verdict{.error = p->error};
}

bool path_of(int fd, char (&out)[kPathBytes]) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long n = ::syscall(SYS_readlink, link, out, kPathBytes - 1);
  if (n <= 0) {
    return false;
  }
  out[n] = '\0';
  return out[0] == '/';
}

bool path_of(int folder_fd, const char* name, char (&out)[kPathBytes]) {
  if (name[0] == '/') {
    const std::size_t n = ::strnlen(name, kPathBytes);
    if (n == kPathBytes) {
      return false;
    }
    std::memcpy(out, name, n + 1);
    return true;
  }
  if (folder_fd == AT_FDCWD) {
    if (::syscall(SYS_getcwd, out, kPathBytes) <= 0) {
      return false;
    }
  } else if (!path_of(folder_fd, out)) {
    return false;
  }
  const std::size_t at = std::strlen(out);
  const std::size_t n = std::strlen(name);
  if (at + n + 2 > kPathBytes) {
    return false;
  }
  out[at] = '/';
  std::memcpy(out + at + 1, name, n + 1);
  return true;
}

bool is_watched(const char* path) {
  const ControlPage* const p = page();
  if (p == nullptr || p->root[0] == '\0') {
    return false;
  }
  const std::size_t n = std::strlen(p->root);
  return std::strncmp(path, p->root, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

}  // namespace lm::crash
