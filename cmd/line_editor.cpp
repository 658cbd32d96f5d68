// Keys: cli reference 4.2. The whole input is drawn anew after each key: inputs are short, and a
// terminal that was resized is right again with the next key.
#include "cmd/line_editor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <optional>

#include <fmt/format.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/external_editor.h"
#include "cmd/output.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"

namespace lm::cmd {
namespace {

constexpr std::string_view kPasteOn = "\x1b[?2004h";
constexpr std::string_view kPasteOff = "\x1b[?2004l\x1b[?25h";
constexpr std::string_view kPasteEnd = "\x1b[201~";

constexpr unsigned char ctrl(char letter) {
  return static_cast<unsigned char>(letter & 0x1f);
}

/// Modes of a terminal that hands over every key; output processing stays on.
termios raw_modes(termios modes) {
  modes.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
  modes.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
  modes.c_cc[VMIN] = 1;
  modes.c_cc[VTIME] = 0;
  return modes;
}

/// Between two inputs: as above, but Ctrl+C interrupts. What is typed ahead arrives in the next
/// input as it was typed; a terminal in its usual modes would turn Enter into a line end.
termios waiting_modes(const termios& original) {
  termios modes = raw_modes(original);
  modes.c_lflag |= ISIG;
  return modes;
}

std::string normalised_line_ends(std::string text) {
  for (std::size_t at = 0; (at = text.find('\r', at)) != std::string::npos; ++at) {
    if (at + 1 < text.size() && text[at + 1] == '\n') {
      text.erase(at, 1);
    } else {
      text[at] = '\n';
    }
  }
  return text;
}

}  // namespace

LineResult LineEditor::read() {
  buffer_.clear();
  draft_.clear();
  history_at_ = history_.lines().size();
  forget_drawing();
  result_ = {};
  if (!terminal_takes_escapes()) {
    return read_plain();
  }
  if (!modes_) {
    modes_.emplace(STDIN_FILENO, kPasteOff);
  }
  const auto original = modes_->original();
  if (!original) {
    return read_plain();
  }
  const GracefulInterrupt graceful;
  modes_->set(raw_modes(*original), kPasteOn);
  const LineResult result = read_keys();
  modes_->set(waiting_modes(*original), kPasteOff);
  return result;
}

LineResult LineEditor::read_keys() {
  redraw();
  while (true) {
    const int byte = read_byte();
    if (byte < 0) {
      const bool interrupted = interrupt_flag().exchange(false) && !termination_requested();
      result_ = {.end = interrupted ? LineEnd::dropped : LineEnd::left, .text = buffer_.text()};
      leave();
      return result_;
    }
    if (key(static_cast<unsigned char>(byte)) == Outcome::done) {
      return result_;
    }
    redraw();
  }
}

LineResult LineEditor::read_plain() {
  const GracefulInterrupt graceful;
  print(options_.prompt);
  flush();
  std::string text;
  while (true) {
    const int byte = read_byte();
    if (interrupt_flag().exchange(false)) {
      print("\n");
      flush();
      return {.end = termination_requested() ? LineEnd::left : LineEnd::dropped, .text = text};
    }
    if (byte < 0) {
      return {.end = LineEnd::left, .text = {}};
    }
    if (byte != '\n') {
      text += static_cast<char>(byte);
    } else if (options_.unfinished && options_.unfinished(text)) {
      text += '\n';
      print(options_.continuation);
      flush();
    } else {
      history_.add(text);
      return {.end = LineEnd::submitted, .text = text};
    }
  }
}

int LineEditor::read_byte(int timeout_ms) {
  while (true) {
    std::array<pollfd, 2> fds{{{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                               {.fd = interrupt_fd(), .events = POLLIN, .revents = 0}}};
    const int ready = ::poll(fds.data(), fds.size(), timeout_ms);
    if (fds[1].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t n = ::read(interrupt_fd(), &count, sizeof count);
    }
    if (termination_requested() || interrupt_flag().load() || ready == 0) {
      return -1;
    }
    if (ready < 0 && errno != EINTR) {
      return -1;
    }
    if (ready < 0 || fds[0].revents == 0) {
      continue;
    }
    unsigned char byte = 0;
    const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
    if (n == 1) {
      return byte;
    }
    if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
      return -1;
    }
  }
}

LineEditor::Outcome LineEditor::key(unsigned char byte) {
  switch (byte) {
    case ctrl('A'):
      buffer_.move_to_line_begin();
      break;
    case ctrl('E'):
      buffer_.move_to_line_end();
      break;
    case ctrl('B'):
      buffer_.move_left();
      break;
    case ctrl('F'):
      buffer_.move_right();
      break;
    case ctrl('P'):
      recall(-1);
      break;
    case ctrl('N'):
      recall(1);
      break;
    case ctrl('K'):
      buffer_.erase_to_line_end();
      break;
    case ctrl('U'):
      buffer_.erase_to_line_begin();
      break;
    case ctrl('W'):
      buffer_.erase_word_left();
      break;
    case ctrl('H'):
    case 0x7f:
      buffer_.erase_left();
      break;
    case ctrl('L'):
      clear_screen();
      break;
    case ctrl('G'):
      edit_outside();
      break;
    case ctrl('R'):
      search();
      break;
    case ctrl('Z'):
      suspend();
      break;
    case ctrl('I'):
      complete();
      break;
    case ctrl('J'):
      buffer_.insert("\n");
      break;
    case ctrl('M'):
      return enter();
    case ctrl('C'):
      result_ = {.end = LineEnd::dropped, .text = buffer_.text()};
      return leave();
    case ctrl('D'):
      if (buffer_.line_is_empty()) {
        result_ = {.end = LineEnd::left, .text = {}};
        return leave();
      }
      buffer_.erase_right();
      break;
    case 0x1b:
      return escape_sequence();
    default:
      if (byte >= 0x20) {
        std::string character(1, static_cast<char>(byte));
        const int more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : byte >= 0xc0 ? 1 : 0;
        for (int i = 0; i < more; ++i) {
          const int tail = read_byte(100);
          if (tail >= 0) {
            character += static_cast<char>(tail);
          }
        }
        buffer_.insert(character);
      }
  }
  return Outcome::go_on;
}

LineEditor::Outcome LineEditor::escape_sequence() {
  const int first = read_byte(50);
  if (first == 'b' || first == 'f') {
    if (first == 'f') {
      buffer_.move_word_right();
    } else {
      buffer_.move_word_left();
    }
    return Outcome::go_on;
  }
  if (first == 0x7f || first == ctrl('H')) {
    return key(ctrl('W'));
  }
  if (first != '[' && first != 'O') {
    return Outcome::go_on;
  }
  std::string sequence;
  for (int byte = read_byte(50); byte >= 0; byte = read_byte(50)) {
    sequence += static_cast<char>(byte);
    if (byte >= 0x40 && byte <= 0x7e) {
      break;
    }
  }
  struct Key {
    std::string_view sequence;
    unsigned char same_as;
  };
  constexpr std::array<Key, 10> kKeys{{{"A", ctrl('P')},
                                       {"B", ctrl('N')},
                                       {"C", ctrl('F')},
                                       {"D", ctrl('B')},
                                       {"H", ctrl('A')},
                                       {"F", ctrl('E')},
                                       {"1~", ctrl('A')},
                                       {"4~", ctrl('E')},
                                       {"7~", ctrl('A')},
                                       {"8~", ctrl('E')}}};
  const auto found = std::ranges::find(kKeys, sequence, &Key::sequence);
  if (found != kKeys.end()) {
    return key(found->same_as);
  }
  if (sequence == "3~") {
    buffer_.erase_right();
  } else if (sequence == "200~") {
    paste();
  } else if (sequence == "1;5C" || sequence == "1;3C") {
    buffer_.move_word_right();
  } else if (sequence == "1;5D" || sequence == "1;3D") {
    buffer_.move_word_left();
  }
  return Outcome::go_on;
}

LineEditor::Outcome LineEditor::enter() {
  if (options_.unfinished && options_.unfinished(buffer_.text())) {
    buffer_.move_to_end();
    buffer_.insert("\n");
    return Outcome::go_on;
  }
  history_.add(buffer_.text());
  result_ = {.end = LineEnd::submitted, .text = buffer_.text()};
  return leave();
}

LineEditor::Outcome LineEditor::leave() {
  buffer_.move_to_end();
  draw_text(options_.prompt, buffer_.text(), buffer_.cursor(), false);
  print("\n");
  flush();
  return Outcome::done;
}

void LineEditor::recall(int step) {
  const std::vector<std::string>& lines = history_.lines();
  if ((step < 0 && history_at_ == 0) || (step > 0 && history_at_ >= lines.size())) {
    return;
  }
  if (history_at_ == lines.size()) {
    draft_ = buffer_.text();
  }
  history_at_ = step < 0 ? history_at_ - 1 : history_at_ + 1;
  buffer_.assign(history_at_ == lines.size() ? draft_ : lines[history_at_]);
}

void LineEditor::paste() {
  std::string pasted;
  while (pasted.size() < EditBuffer::kMaxBytes && !pasted.ends_with(kPasteEnd)) {
    const int byte = read_byte(2000);
    if (byte < 0) {
      break;
    }
    pasted += static_cast<char>(byte);
  }
  if (pasted.ends_with(kPasteEnd)) {
    pasted.resize(pasted.size() - kPasteEnd.size());
  }
  buffer_.insert(normalised_line_ends(std::move(pasted)));
}

void LineEditor::search() {
  std::string query;
  std::string found;
  std::size_t at = history_.lines().size();
  const auto look = [&](std::size_t from) {
    for (std::size_t i = from; i-- > 0;) {
      if (history_.lines()[i].find(query) != std::string::npos) {
        at = i;
        found = history_.lines()[i];
        return;
      }
    }
  };
  while (true) {
    draw_text(fmt::format("(search '{}') ", escape_for_terminal(query)), found, found.size(),
              false);
    const int byte = read_byte();
    if (byte < 0 || byte == ctrl('C') || byte == ctrl('G') || byte == 0x1b) {
      return;
    }
    if (byte == ctrl('R')) {
      look(at);
    } else if (byte == 0x7f || byte == ctrl('H')) {
      if (!query.empty()) {
        query.resize(query.size() - 1);
      }
      found.clear();
      look(history_.lines().size());
    } else if (byte >= 0x20) {
      query += static_cast<char>(byte);
      found.clear();
      look(history_.lines().size());
    } else {
      if (found.empty()) {
        buffer_.move_to_end();
      } else {
        buffer_.assign(found);
      }
      return;
    }
  }
}

void LineEditor::complete() {
  if (!options_.complete || !buffer_.at_end()) {
    return;
  }
  const std::vector<std::string> words = options_.complete(buffer_.text());
  if (words.empty()) {
    return;
  }
  std::string common = words.front();
  for (const std::string& word : words) {
    common.resize(
        static_cast<std::size_t>(std::ranges::mismatch(common, word).in1 - common.begin()));
  }
  const std::size_t blank = buffer_.text().find_last_of(" \n");
  const std::size_t begin = blank == std::string::npos ? 0 : blank + 1;
  if (common.size() > buffer_.text().size() - begin || words.size() == 1) {
    buffer_.replace_from(begin, common + (words.size() == 1 && !common.ends_with('/') ? " " : ""));
    return;
  }
  print("\n");
  for (const std::string& word : words) {
    print(escape_for_terminal(word) + "  ");
  }
  print("\n");
  forget_drawing();
}

void LineEditor::suspend() {
  // The guard in `read` has saved the shell's modes; SIGTSTP's handler brings them back before it
  // stops.
  ::raise(SIGTSTP);
  resume_terminal_modes();
  print(kPasteOn);
  forget_drawing();
}

void LineEditor::edit_outside() {
  pause_terminal_modes();
  print("\n");
  flush();
  const auto edited = edit_text(options_.editor, buffer_.text());
  resume_terminal_modes();
  print(kPasteOn);
  if (edited) {
    buffer_.assign(*edited);
  }
  forget_drawing();
}

void LineEditor::clear_screen() {
  print("\x1b[H\x1b[2J");
  forget_drawing();
}

void LineEditor::redraw() {
  draw_text(options_.prompt, buffer_.text(), buffer_.cursor(), buffer_.text().empty());
}

void LineEditor::draw_text(const std::string& prompt, const std::string& text, std::size_t cursor,
                           bool placeholder) {
  const std::size_t width = std::max<std::size_t>(terminal_width(STDOUT_FILENO), 8);
  std::string out = cursor_row_ > 0 ? fmt::format("\x1b[{}A", cursor_row_) : "";
  out += "\r\x1b[J" + prompt;
  std::size_t row = 0, column = display_width(prompt), cursor_row = 0, cursor_column = column;
  std::string_view rest = text;
  while (true) {
    if (text.size() - rest.size() == cursor) {
      cursor_row = row;
      cursor_column = column;
    }
    if (rest.empty()) {
      break;
    }
    const Character c = next_character(rest);
    if (c.code == '\n' && c.valid) {
      out += "\r\n" + options_.continuation;
      ++row;
      column = display_width(options_.continuation);
    } else {
      const std::string shown = escape_for_terminal(rest.substr(0, c.bytes));
      const std::size_t columns = display_width(shown);
      if (column + columns > width) {
        ++row;
        column = 0;
        out += "\r\n";
      }
      out += shown;
      column += columns;
    }
    rest.remove_prefix(c.bytes);
  }
  if (placeholder && !options_.placeholder.empty() && terminal_takes_colour()) {
    out += fmt::format("\x1b[90m{}\x1b[0m\r\x1b[{}C",
                       options_.placeholder.substr(0, width - column - 1), column);
  } else {
    if (row > cursor_row) {
      out += fmt::format("\x1b[{}A", row - cursor_row);
    }
    out += "\r";
    if (cursor_column > 0) {
      out += fmt::format("\x1b[{}C", std::min(cursor_column, width - 1));
    }
  }
  cursor_row_ = cursor_row;
  print(out);
  flush();
}

}  // namespace lm::cmd
