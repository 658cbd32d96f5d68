/// Signals: SIGINT and SIGTERM as a flag or as an immediate, clean end; terminal modes restored on
/// every path.
#pragma once

#include <atomic>
#include <optional>
#include <string_view>

#include <termios.h>

namespace lm::cmd {

/// Installs the handlers; called once, first thing in main.
void install_signal_handlers();

/// Set by SIGINT or SIGTERM while a GracefulInterrupt lives. Libraries take it as their stop flag.
std::atomic<bool>& interrupt_flag();
/// Becomes readable with every SIGINT, SIGTERM and SIGHUP: a poll that waits for input waits for
/// this too, so that a signal just before it, or one that another thread gets, is not slept
/// through.
int interrupt_fd();
/// True after SIGTERM or SIGHUP: not even an interactive session goes on.
bool termination_requested();

/// While one lives, SIGINT and SIGTERM set `interrupt_flag` and the work ends by itself; without
/// one they end the program at once with 130. A second signal that is not followed by an end within
/// the work ends it at once as well.
class GracefulInterrupt {
 public:
  GracefulInterrupt();
  ~GracefulInterrupt();
  GracefulInterrupt(const GracefulInterrupt&) = delete;
  GracefulInterrupt& operator=(const GracefulInterrupt&) = delete;
};

/// Ends the program from anywhere, also from a handler: restores the terminal, then _exit. Nothing
/// else is run.
[[noreturn]] void leave_now(int code) noexcept;

/// Remembers the modes of the terminal so that every way out brings them back; `restore` is written
/// to it then (cursor shown, bracketed paste off).
class TerminalModes {
 public:
  TerminalModes(int fd, std::string_view restore);
  ~TerminalModes();
  TerminalModes(const TerminalModes&) = delete;
  TerminalModes& operator=(const TerminalModes&) = delete;

  /// The modes that the terminal had; nothing when it has none to change.
  std::optional<termios> original() const;
  /// Switches the terminal to `modes` and writes `text` to it. Input that was typed ahead is kept.
  void set(const termios& modes, std::string_view text);
};

/// Gives the terminal back for a while (another program uses it) and takes it again.
void pause_terminal_modes();
void resume_terminal_modes();

/// The file that is mapped: named when it shrinks under the mapping (SIGBUS).
void set_mapped_file_name(std::string_view name);

}  // namespace lm::cmd
