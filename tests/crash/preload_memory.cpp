// Part of the preloaded library: memory that runs out at a chosen call. Counted from main() on;
// what the loader and static initialisers ask for is not the program's to survive.
#include <atomic>
#include <cerrno>
#include <cstddef>

#include "tests/crash/preload_control.h"

extern "C" {
// The allocator of the C library under its own names.
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {

std::atomic<bool> g_in_main{false};

using Main = int (*)(int, char**, char**);
Main g_main = nullptr;

int counted_main(int argc, char** argv, char** environment) {
  g_in_main = true;
  const int code = g_main(argc, argv, environment);
  g_in_main = false;
  return code;
}

bool runs_out(const char* name) {
  if (!g_in_main.load(std::memory_order_relaxed)) {
    return false;
  }
  if (lm::crash::next_call(lm::crash::kMemory, name, "").error == 0) {
    return false;
  }
  errno = ENOMEM;
  return true;
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) noexcept {
  return runs_out("malloc") ? nullptr : __libc_malloc(size);
}

void* calloc(std::size_t count, std::size_t size) noexcept {
  return runs_out("calloc") ? nullptr : __libc_calloc(count, size);
}

void* realloc(void* block, std::size_t size) noexcept {
  return size != 0 && runs_out("realloc") ? nullptr : __libc_realloc(block, size);
}

void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return runs_out("memalign") ? nullptr : __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return runs_out("aligned_alloc") ? nullptr : __libc_memalign(alignment, size);
}

int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  if (runs_out("posix_memalign")) {
    return ENOMEM;
  }
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

// Where main() begins: the start-up code hands it to this function.
int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*loader_fini)(), void* stack_end);
}

#include <dlfcn.h>

extern "C" int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(),
                                 void (*loader_fini)(), void* stack_end) {
  using Start = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  const auto start = reinterpret_cast<Start>(::dlsym(RTLD_NEXT, "__libc_start_main"));
  g_main = main;
  return start(counted_main, argc, argv, init, fini, loader_fini, stack_end);
}
