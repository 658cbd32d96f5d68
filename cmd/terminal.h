/// What is known of the terminal, and text made safe for it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lm::cmd {

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

/// Whether a terminal understands escape sequences: TERM is set and not "dumb".
bool terminal_takes_escapes();
/// Whether colour and animation are wanted on it: as above, and no NO_COLOR.
bool terminal_takes_colour();

/// Columns of the terminal behind `fd`: its own answer, else COLUMNS, else 80.
std::size_t terminal_width(int fd);

/// Text from outside for errors, lists and progress: C0, DEL, C1, the bidi controls U+202A-202E and
/// U+2066-2069 and bytes that are no UTF-8 become \xNN or \u{NNNN}. Line ends too: the result is
/// one line.
std::string escape_for_terminal(std::string_view text);

/// As above but keeps '\n' and '\t': for texts of several lines (licences, templates, system
/// messages).
std::string escape_lines_for_terminal(std::string_view text);

/// A model's answer for a terminal: C0 except '\n' and '\t', DEL, C1 and bidi controls are dropped.
std::string drop_controls(std::string_view text);

/// Columns that a UTF-8 text takes: wide characters 2, combining ones 0.
std::size_t display_width(std::string_view text);

/// The next character of a UTF-8 text: its bytes; invalid bytes come one by one with `valid` false.
struct Character {
  char32_t code = 0;
  std::size_t bytes = 1;
  bool valid = true;
};
Character next_character(std::string_view text);
/// Columns of one character.
std::size_t character_width(char32_t code);

}  // namespace lm::cmd
