/// Command lines: flags, values and positionals of one command, and its --help.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/command.h"

namespace lm::cmd {

/// Declares what a command takes, then parses. Targets must outlive `parse`. Flags and positionals
/// may be mixed; "--" ends the flags; values follow as the next word or after '='. Names are given
/// as "-f,--file".
class Arguments {
 public:
  explicit Arguments(const CommandLine& line) : line_(line) {}

  void flag(std::string_view names, bool& to, std::string_view help);
  /// A flag that may carry a value behind '=': --think, --think=high. Without one it means
  /// `implied`. The next word is never taken, so that a prompt may follow.
  void flag_or_value(std::string_view names, std::optional<std::string>& to,
                     std::string_view implied, std::string_view label, std::string_view help);
  void text(std::string_view names, std::optional<std::string>& to, std::string_view label,
            std::string_view help);
  /// A whole number in [min, max].
  void integer(std::string_view names, std::optional<std::int64_t>& to, std::int64_t min,
               std::int64_t max, std::string_view help);
  /// A finite number, kept as it was written.
  void number(std::string_view names, std::optional<std::string>& to, std::string_view help);
  /// May be given several times, one value each.
  void list(std::string_view names, std::vector<std::string>& to, std::string_view label,
            std::string_view help);
  void positional(std::string_view label, std::optional<std::string>& to);
  void positional(std::string_view label, std::string& to);  ///< must be given
  /// Everything that is left; `min` words at least.
  void rest(std::string_view label, std::vector<std::string>& to, std::size_t min);

  /// Parses. True: go on; false: help was asked for and has been printed. Errors are of kind usage.
  Result<bool> parse();

 private:
  enum class Takes { nothing, maybe_value, value };
  struct Option {
    std::string_view names;
    std::string_view label;  ///< of the value, for help
    std::string help;
    Takes takes = Takes::nothing;
    /// Gets the value (empty for a flag); an error's text, or nothing.
    std::function<std::optional<std::string>(std::string_view value)> set;
  };
  struct Positional {
    std::string_view label;
    std::size_t min = 0;
    bool many = false;
    std::function<void(std::string)> set;
    std::size_t seen = 0;
  };

  const Option* find(std::string_view name) const;
  Result<void> take_long(std::string_view word, std::size_t& index);
  Result<void> take_short(std::string_view word, std::size_t& index);
  Result<void> give(const Option& option, std::string_view name,
                    std::optional<std::string_view> value, std::size_t& index);
  Result<void> take_positional(const std::string& word);
  std::unexpected<Failure> wrong(std::string problem) const;
  void print_help() const;

  const CommandLine& line_;
  std::vector<Option> options_;
  std::vector<Positional> positionals_;
};

}  // namespace lm::cmd
