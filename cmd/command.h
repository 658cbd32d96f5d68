/// What a command is: a row of the table in main.cpp and a function.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cmd/report.h"

namespace lm::cmd {

/// What a command gets.
struct CommandLine {
  std::string_view command;                ///< as in its row
  std::span<const std::string> arguments;  ///< what follows the command's name
  /// Set by a command that was given --json: a failure is then written as a JSON object too.
  bool json = false;
};

/// One command. Help, the list of commands and README's table come from these rows.
struct CommandRow {
  std::string_view name;
  std::string_view alias;      ///< second name, or empty
  std::string_view arguments;  ///< "MODEL [PROMPT...]"
  std::string_view summary;    ///< one line
  Result<ExitCode> (*run)(CommandLine&);
};

/// All commands, in the order that help shows them.
std::span<const CommandRow> command_rows();
/// The row of a name or alias, or null.
const CommandRow* find_command(std::string_view name);

Result<ExitCode> bench_command(CommandLine& line);
Result<ExitCode> copy_command(CommandLine& line);
Result<ExitCode> create_command(CommandLine& line);
Result<ExitCode> debug_command(CommandLine& line);
Result<ExitCode> devices_command(CommandLine& line);
Result<ExitCode> du_command(CommandLine& line);
Result<ExitCode> embed_command(CommandLine& line);
Result<ExitCode> env_command(CommandLine& line);
Result<ExitCode> fit_command(CommandLine& line);
Result<ExitCode> help_command(CommandLine& line);
Result<ExitCode> import_command(CommandLine& line);
Result<ExitCode> list_command(CommandLine& line);
Result<ExitCode> move_command(CommandLine& line);
Result<ExitCode> path_command(CommandLine& line);
Result<ExitCode> prune_command(CommandLine& line);
Result<ExitCode> ps_command(CommandLine& line);
Result<ExitCode> pull_command(CommandLine& line);
Result<ExitCode> remove_command(CommandLine& line);
Result<ExitCode> run_command(CommandLine& line);
Result<ExitCode> search_command(CommandLine& line);
Result<ExitCode> serve_command(CommandLine& line);
Result<ExitCode> show_command(CommandLine& line);
Result<ExitCode> stop_command(CommandLine& line);
Result<ExitCode> update_command(CommandLine& line);
Result<ExitCode> verify_command(CommandLine& line);
Result<ExitCode> version_command(CommandLine& line);

}  // namespace lm::cmd
