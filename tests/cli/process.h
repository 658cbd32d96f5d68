/// Child processes for black-box tests: started with their own environment, fed, timed, killed.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace lm::test {

using Environment = std::map<std::string, std::string>;

/// How a process ended and what it said.
struct Finished {
  int exit_code = -1;  ///< -1: ended by a signal
  int signal = 0;
  bool timed_out = false;
  std::string out;
  std::string err;
};

struct RunOptions {
  std::string input = {};   ///< on stdin; an empty one is an empty file
  std::string folder = {};  ///< working directory; empty: inherited
  std::chrono::seconds timeout{120};
  bool as_nobody = false;        ///< for root: as the user who may do nothing
  std::string stdout_path = {};  ///< instead of a pipe ("/dev/full"); `out` stays empty
};

/// Runs a program to its end.
Finished run_process(const std::vector<std::string>& command, const Environment& environment,
                     const RunOptions& options = {});

/// A program in the background; killed with the object.
class Background {
 public:
  Background(const std::vector<std::string>& command, const Environment& environment);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  void send(int signal) const;
  /// Waits for the end; -1 when it was ended by a signal, -2 when it takes longer than `limit`.
  int wait(std::chrono::seconds limit);

 private:
  pid_t pid_ = -1;
  bool ended_ = false;
};

/// A program at a terminal of its own: what a person would type, what a person would see.
class Terminal {
 public:
  Terminal(const std::vector<std::string>& command, const Environment& environment);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(std::string_view keys);
  /// Reads until `text` has appeared behind the place where the last search ended; false after
  /// `limit`.
  bool see(std::string_view text, std::chrono::seconds limit = std::chrono::seconds(60));
  /// Reads until `count` bytes have come behind that place, whatever they are.
  bool see_bytes(std::size_t count, std::chrono::seconds limit = std::chrono::seconds(60));
  /// Waits for the end; -1: by a signal, -2: it takes longer.
  int wait(std::chrono::seconds limit = std::chrono::seconds(60));
  void send(int signal) const;
  /// Everything seen so far.
  const std::string& screen() const { return screen_; }
  /// True when the terminal is back in the modes it had at the start.
  bool modes_restored() const;

 private:
  bool read_some(std::chrono::milliseconds limit);

  pid_t pid_ = -1;
  int fd_ = -1;
  std::string screen_;
  std::size_t searched_ = 0;
  unsigned local_modes_ = 0;
};

}  // namespace lm::test
