/// stdout and stderr of the program, with one rule for readers that go away and disks that are
/// full.
#pragma once

#include <string_view>

namespace lm::cmd {

/// Queues text for stdout. What is queued leaves at `flush`, at 64 KiB and at the end of the
/// program. A reader that closed the pipe ends the program quietly with 0; any other failure to
/// write ends it with an error and 1. Both restore the terminal.
void print(std::string_view text);
/// Writes what is queued.
void flush();
/// Writes at once, after what is queued for stdout. Failures are ignored: there is nowhere left to
/// report them.
void print_to_stderr(std::string_view text);

/// Writes what is queued, then these, and asks for no memory.
void print_without_memory(std::string_view to_stdout, std::string_view to_stderr) noexcept;

}  // namespace lm::cmd
