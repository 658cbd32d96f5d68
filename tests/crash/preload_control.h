/// Parts of the preloaded library: its page, its decisions, the paths behind descriptors. Uses
/// system calls and no library function that it replaces itself.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/crash/control_page.h"

namespace lm::crash {

inline constexpr std::size_t kPathBytes = 4096;

/// The page, or nullptr without one.
ControlPage* page();

/// What is to become of a call.
struct Verdict {
  int error = 0;      ///< errno to fail with; 0: goes through
  bool half = false;  ///< a write writes half
  bool last = false;  ///< the process ends after it
};

/// Counts a call of these kinds (a set) on `path`. Ends the process when the page says so.
Verdict next_call(std::uint32_t kinds, const char* name, const char* path);
/// SIGKILL.
[[noreturn]] void end_process();

/// Absolute path of what `name` means beside `folder_fd`; false when there is none.
bool path_of(int folder_fd, const char* name, char (&out)[kPathBytes]);
bool path_of(int fd, char (&out)[kPathBytes]);
/// Below the page's root?
bool is_watched(const char* path);

}  // namespace lm::crash
