#include "cmd/terminal.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace lm::cmd {
namespace {

struct Range {
  char32_t first, last;
};

// Two columns wide: East Asian Wide and Fullwidth blocks and emoji (Unicode 15, EastAsianWidth.txt,
// by block).
constexpr std::array<Range, 26> kWide{{
    {0x1100, 0x115f},   {0x231a, 0x231b}, {0x2329, 0x232a}, {0x23e9, 0x23ec},   {0x25fd, 0x25fe},
    {0x2614, 0x2615},   {0x2648, 0x2653}, {0x26aa, 0x26ab}, {0x26bd, 0x26be},   {0x2705, 0x2705},
    {0x270a, 0x270b},   {0x274c, 0x274c}, {0x2753, 0x2755}, {0x2e80, 0x303e},   {0x3041, 0x33ff},
    {0x3400, 0x4dbf},   {0x4e00, 0x9fff}, {0xa000, 0xa4cf}, {0xac00, 0xd7a3},   {0xf900, 0xfaff},
    {0xfe30, 0xfe6f},   {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f9ff},
    {0x20000, 0x3fffd},
}};

// No column of their own: combining marks, variation selectors, joiners.
constexpr std::array<Range, 9> kZero{{
    {0x0300, 0x036f},
    {0x0483, 0x0489},
    {0x0591, 0x05bd},
    {0x064b, 0x065f},
    {0x1ab0, 0x1aff},
    {0x200b, 0x200f},
    {0x20d0, 0x20ff},
    {0xfe00, 0xfe0f},
    {0xfe20, 0xfe2f},
}};

template <std::size_t N>
bool contains(const std::array<Range, N>& ranges, char32_t code) {
  return std::ranges::any_of(ranges,
                             [code](const Range& r) { return code >= r.first && code <= r.last; });
}

bool is_hostile(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || (code >= 0x202a && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

std::string escape(std::string_view text, bool keep_lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = next_character(text);
    if (!c.valid || (c.code < 0x100 && is_hostile(c.code))) {
      if (keep_lines && (c.code == '\n' || c.code == '\t') && c.valid) {
        out += static_cast<char>(c.code);
      } else {
        out += fmt::format("\\x{:02x}", c.valid ? static_cast<unsigned>(c.code)
                                                : static_cast<unsigned char>(text.front()));
      }
    } else if (is_hostile(c.code)) {
      out += fmt::format("\\u{{{:04x}}}", static_cast<unsigned>(c.code));
    } else {
      out += text.substr(0, c.bytes);
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

}  // namespace

bool stdin_is_terminal() {
  return ::isatty(STDIN_FILENO) == 1;
}
bool stdout_is_terminal() {
  return ::isatty(STDOUT_FILENO) == 1;
}
bool stderr_is_terminal() {
  return ::isatty(STDERR_FILENO) == 1;
}

bool terminal_takes_escapes() {
  const char* term = std::getenv("TERM");
  return term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

bool terminal_takes_colour() {
  const char* no_color = std::getenv("NO_COLOR");
  return terminal_takes_escapes() && (no_color == nullptr || *no_color == '\0');
}

std::size_t terminal_width(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  if (const char* columns = std::getenv("COLUMNS"); columns != nullptr) {
    const long n = std::strtol(columns, nullptr, 10);
    if (n > 0 && n < 10'000) {
      return static_cast<std::size_t>(n);
    }
  }
  return 80;
}

Character next_character(std::string_view text) {
  const auto byte = [&](std::size_t i) -> char32_t { return static_cast<unsigned char>(text[i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) {
    return {.code = lead, .bytes = 1, .valid = true};
  }
  const std::size_t n = lead >= 0xc2 && lead <= 0xdf   ? 2
                        : lead >= 0xe0 && lead <= 0xef ? 3
                        : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                       : 0;
  if (n == 0 || text.size() < n) {
    return {.code = lead, .bytes = 1, .valid = false};
  }
  char32_t code = lead & (0xffu >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return {.code = lead, .bytes = 1, .valid = false};
    }
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    return {.code = lead, .bytes = 1, .valid = false};
  }
  return {.code = code, .bytes = n, .valid = true};
}

std::string escape_for_terminal(std::string_view text) {
  return escape(text, false);
}
std::string escape_lines_for_terminal(std::string_view text) {
  return escape(text, true);
}

std::string drop_controls(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = next_character(text);
    const bool keep = !c.valid ? false : (c.code == '\n' || c.code == '\t' || !is_hostile(c.code));
    if (keep) {
      out += text.substr(0, c.bytes);
    } else if (!c.valid) {
      out += "\xef\xbf\xbd";
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

std::size_t character_width(char32_t code) {
  if (code < 0x20 || contains(kZero, code)) {
    return 0;
  }
  return contains(kWide, code) ? 2 : 1;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character c = next_character(text);
    width += c.valid ? character_width(c.code) : 1;
    text.remove_prefix(c.bytes);
  }
  return width;
}

}  // namespace lm::cmd
