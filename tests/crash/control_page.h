/// What a sweep and the library it preloads into `lm` tell each other: a small file that both map,
/// so that its counts outlive a killed process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace lm::crash {

/// Environment variable with the path of the page.
inline constexpr const char* kPageVariable = "LM_CRASH_PAGE";

/// Kinds of calls; a page counts any set of them.
enum CallKind : std::uint32_t {
  kChanges = 1,  ///< change the disk below `root`: create, write, fsync, rename, link, unlink, ...
  kOpens = 2,    ///< open a file below `root`, for whatever purpose
  kReads = 4,    ///< read or pread a file below `root`
  kMemory = 8,   ///< ask for memory, from main() on
};

/// What happens at the chosen call.
enum class Fault : std::uint32_t {
  none,
  kill,       ///< SIGKILL instead of the call
  kill_torn,  ///< the same, but half of the bytes of a write still get through
  fail_once,
  fail_from,  ///< that call and every later one
};

/// Instead of an errno: a write writes half of its bytes, other calls go through.
inline constexpr std::int32_t kShortWrite = -1;

struct ControlPage {
  // Said by the sweep.
  std::uint32_t counted = 0;  ///< set of CallKind
  Fault fault = Fault::none;
  std::int32_t error = 0;   ///< errno, or kShortWrite
  std::uint64_t at = 0;     ///< 1: the first counted call
  char root[512] = {};      ///< absolute, without symbolic links
  char only[64] = {};       ///< counted are only calls on paths that end so; empty: all
  char log_path[512] = {};  ///< events go there (event_log.h); empty: no log

  // Said by the library.
  std::atomic<std::uint64_t> calls = 0;  ///< counted so far
  std::atomic<std::uint64_t> hits = 0;   ///< calls that were killed or made to fail
  char hit[512] = {};                    ///< the first of them: name and path
};

}  // namespace lm::crash
