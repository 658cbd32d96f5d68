#include "tests/cli/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <thread>

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

namespace lm::test {
namespace {

using Clock = std::chrono::steady_clock;

/// Replaces the process image; never returns.
[[noreturn]] void exec(const std::vector<std::string>& command, const Environment& environment) {
  std::vector<std::string> pairs;
  for (const auto& [name, value] : environment) {
    pairs.push_back(name + "=" + value);
  }
  std::vector<char*> env, argv;
  for (std::string& pair : pairs) {
    env.push_back(pair.data());
  }
  env.push_back(nullptr);
  for (const std::string& word : command) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  for (const int number : {SIGINT, SIGTERM, SIGPIPE, SIGTSTP}) {
    std::signal(number, SIG_DFL);
  }
  ::execve(argv[0], argv.data(), env.data());
  ::_exit(126);
}

struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      std::abort();
    }
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  void close_end(std::size_t i) {
    if (ends[i] >= 0) {
      ::close(ends[i]);
      ends[i] = -1;
    }
  }
};

void finish(pid_t pid, Finished& result) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/// Exit code, or -1 by a signal, or -2 when it still runs after `limit`.
int wait_for(pid_t pid, std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  while (true) {
    int status = 0;
    const pid_t done = ::waitpid(pid, &status, WNOHANG);
    if (done == pid) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    if (Clock::now() >= end) {
      return -2;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace

Finished run_process(const std::vector<std::string>& command, const Environment& environment,
                     const RunOptions& options) {
  Pipe in, out, err;
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) {
      ::_exit(125);
    }
    constexpr unsigned kNobody = 65534;
    if (options.as_nobody && ::geteuid() == 0 &&
        (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) {
      ::_exit(124);
    }
    ::dup2(in.ends[0], 0);
    ::dup2(
        options.stdout_path.empty() ? out.ends[1] : ::open(options.stdout_path.c_str(), O_WRONLY),
        1);
    ::dup2(err.ends[1], 2);
    exec(command, environment);
  }
  in.close_end(0);
  out.close_end(1);
  err.close_end(1);
  std::signal(SIGPIPE, SIG_IGN);
  ::fcntl(in.ends[1], F_SETFL, O_NONBLOCK);
  Finished result;
  std::string_view left = options.input;
  const auto end = Clock::now() + options.timeout;
  while (out.ends[0] >= 0 || err.ends[0] >= 0) {
    if (left.empty()) {
      in.close_end(1);
    }
    std::array<pollfd, 3> fds{
        {{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}, {in.ends[1], POLLOUT, 0}}};
    ::poll(fds.data(), fds.size(), 100);
    const auto drain = [](Pipe& pipe, short events, std::string& to) {
      if (pipe.ends[0] < 0 || events == 0) {
        return;
      }
      std::array<char, 65536> chunk;
      const ssize_t n = ::read(pipe.ends[0], chunk.data(), chunk.size());
      if (n > 0) {
        to.append(chunk.data(), static_cast<std::size_t>(n));
      } else {
        pipe.close_end(0);
      }
    };
    drain(out, fds[0].revents, result.out);
    drain(err, fds[1].revents, result.err);
    if (in.ends[1] >= 0 && fds[2].revents != 0) {
      const ssize_t n = ::write(in.ends[1], left.data(), left.size());
      if (n >= 0) {
        left.remove_prefix(static_cast<std::size_t>(n));
      } else if (errno != EAGAIN) {
        left = {};
      }
    }
    if (Clock::now() >= end) {
      result.timed_out = true;
      ::kill(pid, SIGKILL);
      break;
    }
  }
  finish(pid, result);
  return result;
}

Background::Background(const std::vector<std::string>& command, const Environment& environment) {
  pid_ = ::fork();
  if (pid_ == 0) {
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 0);
    ::dup2(null, 1);
    ::dup2(null, 2);
    exec(command, environment);
  }
}

Background::~Background() {
  if (!ended_) {
    ::kill(pid_, SIGKILL);
    wait(std::chrono::seconds(10));
  }
}

void Background::send(int signal) const {
  ::kill(pid_, signal);
}

int Background::wait(std::chrono::seconds limit) {
  const int code = wait_for(pid_, limit);
  ended_ = code != -2;
  return code;
}

Terminal::Terminal(const std::vector<std::string>& command, const Environment& environment) {
  winsize size{};
  size.ws_row = 40;
  size.ws_col = 100;
  pid_ = ::forkpty(&fd_, nullptr, nullptr, &size);
  if (pid_ == 0) {
    exec(command, environment);
  }
  termios modes{};
  ::tcgetattr(fd_, &modes);
  // A child that is quick may have changed them already: what counts is canonical input with echo
  // and signals.
  local_modes_ = static_cast<unsigned>(modes.c_lflag | ICANON | ECHO | ISIG);
}

Terminal::~Terminal() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait_for(pid_, std::chrono::seconds(10));
  }
  ::close(fd_);
}

void Terminal::type(std::string_view keys) {
  while (!keys.empty()) {
    const ssize_t n = ::write(fd_, keys.data(), keys.size());
    if (n <= 0) {
      return;
    }
    keys.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool Terminal::read_some(std::chrono::milliseconds limit) {
  pollfd input{fd_, POLLIN, 0};
  if (::poll(&input, 1, static_cast<int>(limit.count())) <= 0) {
    return true;
  }
  std::array<char, 65536> chunk;
  const ssize_t n = ::read(fd_, chunk.data(), chunk.size());
  if (n <= 0) {
    return false;
  }
  screen_.append(chunk.data(), static_cast<std::size_t>(n));
  return true;
}

bool Terminal::see(std::string_view text, std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  bool open = true;
  while (true) {
    const std::size_t found = screen_.find(text, searched_);
    if (found != std::string::npos) {
      searched_ = found + text.size();
      return true;
    }
    if (!open || Clock::now() >= end) {
      return false;
    }
    open = read_some(std::chrono::milliseconds(50));
  }
}

bool Terminal::see_bytes(std::size_t count, std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  while (screen_.size() < searched_ + count) {
    if (Clock::now() >= end || !read_some(std::chrono::milliseconds(50))) {
      return false;
    }
  }
  searched_ += count;
  return true;
}

int Terminal::wait(std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  while (true) {
    read_some(std::chrono::milliseconds(20));
    const int code = wait_for(pid_, std::chrono::seconds(0));
    if (code != -2) {
      pid_ = -1;
      return code;
    }
    if (Clock::now() >= end) {
      return -2;
    }
  }
}

void Terminal::send(int signal) const {
  ::kill(pid_, signal);
}

bool Terminal::modes_restored() const {
  termios modes{};
  return ::tcgetattr(fd_, &modes) == 0 && static_cast<unsigned>(modes.c_lflag) == local_modes_;
}

}  // namespace lm::test
