#include "cmd/signals.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include <sys/eventfd.h>
#include <unistd.h>

namespace lm::cmd {
namespace {

std::atomic<bool> g_interrupted{false};
std::atomic<bool> g_terminate{false};
std::atomic<int> g_graceful{0};
int g_interrupt_fd = -1;

// What the handlers need to give the terminal back. Written before `g_modes_active` is set.
std::atomic<bool> g_modes_active{false};
int g_terminal_fd = -1;
termios g_saved_modes{};
termios g_own_modes{};
std::array<char, 64> g_restore_text{};
std::size_t g_restore_length = 0;

// "Error: <name>: ..." for SIGBUS, composed in advance: a handler can't allocate.
std::array<char, 512> g_bus_message{};
std::atomic<std::size_t> g_bus_length{0};

void restore_terminal() noexcept {
  if (!g_modes_active.exchange(false)) {
    return;
  }
  [[maybe_unused]] const ssize_t n =
      ::write(g_terminal_fd, g_restore_text.data(), g_restore_length);
  // SIGTTOU would stop a background process here; the modes are not its to change then anyway.
  tcsetattr(g_terminal_fd, TCSANOW, &g_saved_modes);
}

void on_interrupt(int number) {
  const bool again = g_interrupted.exchange(true);
  if (number != SIGINT) {
    g_terminate.store(true);
  }
  const int error = errno;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(g_interrupt_fd, &one, sizeof one);
  errno = error;
  if (g_graceful.load() == 0 || again) {
    leave_now(130);
  }
}

void on_fatal(int number) {
  restore_terminal();
  if (number == SIGBUS && g_bus_length.load() > 0) {
    [[maybe_unused]] const ssize_t n =
        ::write(STDERR_FILENO, g_bus_message.data(), g_bus_length.load());
    _exit(1);
  }
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void on_stop(int) {
  // Ctrl+Z from outside: the shell gets a sane terminal. The line editor sets its modes again when
  // it goes on.
  restore_terminal();
  std::signal(SIGTSTP, SIG_DFL);
  // Blocked while its own handler runs; it takes effect when the handler returns.
  std::raise(SIGTSTP);
}

void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

}  // namespace

void install_signal_handlers() {
  g_interrupt_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  // No SA_RESTART: a read from the terminal must come back.
  handle(SIGINT, on_interrupt, 0);
  handle(SIGTERM, on_interrupt, 0);
  handle(SIGHUP, on_interrupt, 0);
  handle(SIGPIPE, SIG_IGN, 0);  // writes fail with EPIPE instead, and sockets can't end the program
  handle(SIGBUS, on_fatal, 0);
  handle(SIGABRT, on_fatal, 0);
}

std::atomic<bool>& interrupt_flag() {
  return g_interrupted;
}
int interrupt_fd() {
  return g_interrupt_fd;
}
bool termination_requested() {
  return g_terminate.load();
}

GracefulInterrupt::GracefulInterrupt() {
  g_graceful.fetch_add(1);
}
GracefulInterrupt::~GracefulInterrupt() {
  g_graceful.fetch_sub(1);
}

void leave_now(int code) noexcept {
  restore_terminal();
  _exit(code);
}

TerminalModes::TerminalModes(int fd, std::string_view restore) {
  if (tcgetattr(fd, &g_saved_modes) != 0) {
    return;
  }
  g_terminal_fd = fd;
  g_restore_length = std::min(restore.size(), g_restore_text.size());
  std::memcpy(g_restore_text.data(), restore.data(), g_restore_length);
}

std::optional<termios> TerminalModes::original() const {
  if (g_terminal_fd < 0) {
    return std::nullopt;
  }
  return g_saved_modes;
}

void TerminalModes::set(const termios& modes, std::string_view text) {
  g_own_modes = modes;
  g_modes_active.store(true);
  handle(SIGTSTP, on_stop, 0);
  tcsetattr(g_terminal_fd, TCSADRAIN, &modes);
  [[maybe_unused]] const ssize_t n = ::write(g_terminal_fd, text.data(), text.size());
}

TerminalModes::~TerminalModes() {
  restore_terminal();
  g_terminal_fd = -1;
  std::signal(SIGTSTP, SIG_DFL);
}

void pause_terminal_modes() {
  restore_terminal();
}

void resume_terminal_modes() {
  tcsetattr(g_terminal_fd, TCSADRAIN, &g_own_modes);
  g_modes_active.store(true);
  handle(SIGTSTP, on_stop, 0);
}

void set_mapped_file_name(std::string_view name) {
  constexpr std::string_view kHead = "Error: ";
  constexpr std::string_view kTail = ": the file became shorter while it was in use; restore it\n";
  g_bus_length.store(0);
  std::size_t n = 0;
  const auto add = [&n](std::string_view text, std::size_t limit) {
    for (const char c : text.substr(0, limit)) {
      const auto byte = static_cast<unsigned char>(c);
      g_bus_message[n++] = (byte < 0x20 && c != '\n') || byte >= 0x7f ? '?' : c;
    }
  };
  add(kHead, kHead.size());
  add(name, 400);
  add(kTail, kTail.size());
  g_bus_length.store(n);
}

}  // namespace lm::cmd
