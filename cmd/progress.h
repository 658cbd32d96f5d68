/// Progress of long work on stderr: a bar that never goes backwards on a terminal, plain lines
/// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace lm::cmd {

/// Speed over the last ten one-second samples.
class SpeedMeter {
 public:
  using Clock = std::chrono::steady_clock;
  void add(std::uint64_t completed, Clock::time_point now);
  double bytes_per_second() const;

 private:
  struct Sample {
    Clock::time_point time;
    std::uint64_t completed;
  };
  std::deque<Sample> samples_;
};

/// Draws items one after the other. On a terminal the current line is redrawn at most every 100 ms;
/// elsewhere an item gets a line at its start, every 10 % and at its end.
class ProgressDisplay {
 public:
  enum class Style {
    automatic,  ///< bar on a terminal that takes escapes
    plain,
    silent,
  };
  explicit ProgressDisplay(Style style = Style::automatic);
  ~ProgressDisplay();
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  /// A step without a length: "pulling manifest".
  void status(std::string_view text);
  /// Bytes of the item `label`; a new label starts a new item. `completed` below an earlier value
  /// is ignored.
  void update(std::string_view label, std::uint64_t completed, std::uint64_t total);
  /// Leaves the current line as it is and goes on below it.
  void finish_line();

 private:
  void draw(bool last);
  std::string bar_line() const;

  Style style_;
  bool line_open_ = false;
  std::string label_;
  std::uint64_t completed_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t next_plain_tenth_ = 0;
  bool done_ = false;
  SpeedMeter speed_;
  SpeedMeter::Clock::time_point last_drawn_{};
};

}  // namespace lm::cmd
