#include "cmd/progress.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "cmd/format.h"
#include "cmd/output.h"
#include "cmd/terminal.h"

namespace lm::cmd {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr std::size_t kSamples = 10;
constexpr std::size_t kBarColumns = 20;

std::uint64_t percent(std::uint64_t completed, std::uint64_t total) {
  return total == 0 ? 100
                    : static_cast<std::uint64_t>(100.0 * static_cast<double>(completed) /
                                                 static_cast<double>(total));
}

}  // namespace

void SpeedMeter::add(std::uint64_t completed, Clock::time_point now) {
  if (!samples_.empty() && now - samples_.back().time < std::chrono::seconds(1)) {
    return;
  }
  samples_.push_back({now, completed});
  if (samples_.size() > kSamples + 1) {
    samples_.pop_front();
  }
}

double SpeedMeter::bytes_per_second() const {
  if (samples_.size() < 2) {
    return 0;
  }
  const std::chrono::duration<double> span = samples_.back().time - samples_.front().time;
  return static_cast<double>(samples_.back().completed - samples_.front().completed) / span.count();
}

ProgressDisplay::ProgressDisplay(Style style) : style_(style) {
  if (style_ == Style::automatic && !(stderr_is_terminal() && terminal_takes_colour())) {
    style_ = Style::plain;
  }
}

ProgressDisplay::~ProgressDisplay() {
  finish_line();
}

void ProgressDisplay::finish_line() {
  if (line_open_) {
    print_to_stderr("\n");
    line_open_ = false;
  }
}

void ProgressDisplay::status(std::string_view text) {
  if (style_ == Style::silent) {
    return;
  }
  finish_line();
  print_to_stderr(escape_for_terminal(text) + "\n");
  label_.clear();
}

void ProgressDisplay::update(std::string_view label, std::uint64_t completed, std::uint64_t total) {
  if (style_ == Style::silent) {
    return;
  }
  const bool is_new = label != label_;
  if (is_new) {
    finish_line();
    label_ = label;
    completed_ = 0;
    total_ = total;
    next_plain_tenth_ = 0;
    done_ = false;
    speed_ = {};
  }
  if (done_) {
    return;
  }
  completed_ = std::max(completed_, std::min(completed, total));
  total_ = total;
  done_ = completed_ >= total_;
  const auto now = SpeedMeter::Clock::now();
  speed_.add(completed_, now);
  if (style_ == Style::plain) {
    if (is_new || done_ || percent(completed_, total_) / 10 >= next_plain_tenth_) {
      next_plain_tenth_ = percent(completed_, total_) / 10 + 1;
      print_to_stderr(bar_line() + "\n");
    }
  } else if (is_new || done_ || now - last_drawn_ >= kRedraw) {
    last_drawn_ = now;
    draw(done_);
  }
}

std::string ProgressDisplay::bar_line() const {
  const std::string head =
      fmt::format("{}: {:3}%", escape_for_terminal(label_), percent(completed_, total_));
  if (done_) {
    return fmt::format("{} {}", head, format_bytes(total_));
  }
  const double speed = speed_.bytes_per_second();
  std::string tail = fmt::format(" {}/{}", format_bytes(completed_), format_bytes(total_));
  if (speed > 0) {
    const double left = static_cast<double>(total_ - completed_) / speed;
    tail += fmt::format(
        "  {}/s  {}", format_bytes(static_cast<std::uint64_t>(speed)),
        format_remaining(std::chrono::seconds(static_cast<std::int64_t>(std::min(left, 1e8)))));
  }
  if (style_ == Style::plain) {
    return head + tail;
  }
  const std::size_t full = kBarColumns * percent(completed_, total_) / 100;
  std::string bar = " ▕";
  for (std::size_t i = 0; i < kBarColumns; ++i) {
    bar += i < full ? "█" : " ";
  }
  bar += "▏";
  const std::size_t width = terminal_width(STDERR_FILENO);
  std::string line = head;
  if (display_width(head + bar + tail) < width) {
    line += bar;
  }
  if (display_width(line + tail) < width) {
    line += tail;
  }
  return line;
}

void ProgressDisplay::draw(bool last) {
  // Carriage return, line, erase to the end; inside the synchronised-update brackets nothing is
  // shown half-drawn.
  print_to_stderr(fmt::format("\x1b[?2026h\r{}\x1b[K{}\x1b[?2026l", bar_line(), last ? "\n" : ""));
  line_open_ = !last;
}

}  // namespace lm::cmd
