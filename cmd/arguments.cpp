#include "cmd/arguments.h"

#include <algorithm>

#include <fmt/format.h>

#include "cmd/format.h"
#include "cmd/output.h"

namespace lm::cmd {
namespace {

/// Calls `visit` with every name of "-f,--file".
bool has_name(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const std::size_t comma = std::min(names.find(','), names.size());
    if (names.substr(0, comma) == name) {
      return true;
    }
    names.remove_prefix(std::min(comma + 1, names.size()));
  }
  return false;
}

}  // namespace

void Arguments::flag(std::string_view names, bool& to, std::string_view help) {
  options_.push_back({.names = names,
                      .label = {},
                      .help = std::string(help),
                      .takes = Takes::maybe_value,
                      .set = [&to](std::string_view value) -> std::optional<std::string> {
                        if (value == "true" || value == "false" || value.empty()) {
                          to = value != "false";
                          return std::nullopt;
                        }
                        return "takes true or false";
                      }});
}

void Arguments::flag_or_value(std::string_view names, std::optional<std::string>& to,
                              std::string_view implied, std::string_view label,
                              std::string_view help) {
  options_.push_back({.names = names,
                      .label = label,
                      .help = std::string(help),
                      .takes = Takes::maybe_value,
                      .set = [&to, implied](std::string_view value) -> std::optional<std::string> {
                        to = value.empty() ? implied : value;
                        return std::nullopt;
                      }});
}

void Arguments::text(std::string_view names, std::optional<std::string>& to, std::string_view label,
                     std::string_view help) {
  options_.push_back({.names = names,
                      .label = label,
                      .help = std::string(help),
                      .takes = Takes::value,
                      .set = [&to](std::string_view value) -> std::optional<std::string> {
                        to = std::string(value);
                        return std::nullopt;
                      }});
}

void Arguments::integer(std::string_view names, std::optional<std::int64_t>& to, std::int64_t min,
                        std::int64_t max, std::string_view help) {
  options_.push_back({.names = names,
                      .label = "N",
                      .help = std::string(help),
                      .takes = Takes::value,
                      .set = [&to, min, max](std::string_view value) -> std::optional<std::string> {
                        to = parse_integer(value);
                        if (!to || *to < min || *to > max) {
                          return fmt::format("takes a whole number from {} to {}, got '{}'", min,
                                             max, value);
                        }
                        return std::nullopt;
                      }});
}

void Arguments::number(std::string_view names, std::optional<std::string>& to,
                       std::string_view help) {
  options_.push_back({.names = names,
                      .label = "F",
                      .help = std::string(help),
                      .takes = Takes::value,
                      .set = [&to](std::string_view value) -> std::optional<std::string> {
                        if (!parse_number(value)) {
                          return fmt::format("takes a number, got '{}'", value);
                        }
                        to = std::string(value);
                        return std::nullopt;
                      }});
}

void Arguments::list(std::string_view names, std::vector<std::string>& to, std::string_view label,
                     std::string_view help) {
  options_.push_back({.names = names,
                      .label = label,
                      .help = fmt::format("{}; may be repeated", help),
                      .takes = Takes::value,
                      .set = [&to](std::string_view value) -> std::optional<std::string> {
                        to.emplace_back(value);
                        return std::nullopt;
                      }});
}

void Arguments::positional(std::string_view label, std::optional<std::string>& to) {
  positionals_.push_back({.label = label, .min = 0, .many = false, .set = [&to](std::string word) {
                            to = std::move(word);
                          }});
}

void Arguments::positional(std::string_view label, std::string& to) {
  positionals_.push_back({.label = label, .min = 1, .many = false, .set = [&to](std::string word) {
                            to = std::move(word);
                          }});
}

void Arguments::rest(std::string_view label, std::vector<std::string>& to, std::size_t min) {
  positionals_.push_back({.label = label, .min = min, .many = true, .set = [&to](std::string word) {
                            to.push_back(std::move(word));
                          }});
}

const Arguments::Option* Arguments::find(std::string_view name) const {
  const auto it = std::ranges::find_if(
      options_, [name](const Option& option) { return has_name(option.names, name); });
  return it == options_.end() ? nullptr : &*it;
}

std::unexpected<Failure> Arguments::wrong(std::string problem) const {
  return usage_error(fmt::format("lm {}", line_.command), std::move(problem),
                     fmt::format("run: lm {} --help", line_.command));
}

Result<void> Arguments::give(const Option& option, std::string_view name,
                             std::optional<std::string_view> value, std::size_t& index) {
  if (option.takes == Takes::value && !value) {
    if (index + 1 >= line_.arguments.size()) {
      return wrong(fmt::format("{} needs a value", name));
    }
    value = line_.arguments[++index];
  }
  if (option.takes == Takes::maybe_value && value && value->empty()) {
    return wrong(fmt::format("{}= needs a value", name));
  }
  if (const auto problem = option.set(value.value_or(std::string_view{}))) {
    return wrong(fmt::format("{} {}", name, *problem));
  }
  return {};
}

Result<void> Arguments::take_long(std::string_view word, std::size_t& index) {
  const std::size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const Option* option = find(name);
  if (option == nullptr) {
    return wrong(fmt::format("unknown flag {}", name));
  }
  return give(
      *option, name,
      equals == std::string_view::npos ? std::nullopt : std::optional(word.substr(equals + 1)),
      index);
}

Result<void> Arguments::take_short(std::string_view word, std::size_t& index) {
  // "-ab" are two flags, "-p512" and "-p=512" a flag with its value.
  for (std::size_t i = 1; i < word.size(); ++i) {
    const std::string name{'-', word[i]};
    const Option* option = find(name);
    if (option == nullptr) {
      return wrong(fmt::format("unknown flag {}", word));
    }
    std::string_view attached = word.substr(i + 1);
    if (option->takes == Takes::value || attached.starts_with('=')) {
      const bool has_value = !attached.empty();
      attached.remove_prefix(attached.starts_with('=') ? 1 : 0);
      return give(*option, name, has_value ? std::optional(attached) : std::nullopt, index);
    }
    LM_CHECK(give(*option, name, std::nullopt, index));
  }
  return {};
}

Result<void> Arguments::take_positional(const std::string& word) {
  for (Positional& positional : positionals_) {
    if (positional.many || positional.seen == 0) {
      positional.set(word);
      ++positional.seen;
      return {};
    }
  }
  return wrong(fmt::format("unexpected argument '{}'", word));
}

Result<bool> Arguments::parse() {
  bool only_positionals = false;
  for (std::size_t i = 0; i < line_.arguments.size(); ++i) {
    const std::string& word = line_.arguments[i];
    const bool negative_number = word.size() > 1 && word[0] == '-' && word[1] >= '0' &&
                                 word[1] <= '9' && find(word.substr(0, 2)) == nullptr;
    if (only_positionals || word.size() < 2 || word[0] != '-' || negative_number) {
      LM_CHECK(take_positional(word));
    } else if (word == "--") {
      only_positionals = true;
    } else if (word == "--help" || (word == "-h" && find("-h") == nullptr)) {
      print_help();
      return false;
    } else if (word.starts_with("--")) {
      LM_CHECK(take_long(word, i));
    } else {
      LM_CHECK(take_short(word, i));
    }
  }
  for (const Positional& positional : positionals_) {
    if (positional.seen < positional.min) {
      return wrong(fmt::format("{} is missing", positional.label));
    }
  }
  return true;
}

void Arguments::print_help() const {
  std::string usage =
      fmt::format("Usage: lm {}{}", line_.command, options_.empty() ? "" : " [FLAGS]");
  for (const Positional& positional : positionals_) {
    const std::string label = fmt::format("{}{}", positional.label, positional.many ? "..." : "");
    usage += positional.min > 0 ? " " + label : fmt::format(" [{}]", label);
  }
  if (const CommandRow* row = find_command(line_.command); row != nullptr) {
    usage = fmt::format("{}.\n\n{}", row->summary, usage);
  }
  print(usage + "\n\nFlags:\n");
  const auto row = [](std::string_view left, std::string_view right) {
    print(left.size() > 28 ? fmt::format("  {}\n{:32}{}\n", left, "", right)
                           : fmt::format("  {:<30}{}\n", left, right));
  };
  for (const Option& option : options_) {
    std::string left(option.names);
    if (const std::size_t comma = left.find(','); comma != std::string::npos) {
      left.insert(comma + 1, " ");
    }
    if (option.takes == Takes::value) {
      left += fmt::format(" {}", option.label);
    } else if (!option.label.empty()) {
      left += fmt::format("[={}]", option.label);
    }
    row(left, option.help);
  }
  row("-h, --help", "print this help");
}

}  // namespace lm::cmd
