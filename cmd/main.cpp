// Entry point: the table of commands, and the one place where a failure becomes text and an exit
// code.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <typeinfo>
#include <vector>

#include <cxxabi.h>
#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/output.h"
#include "cmd/signals.h"
#include "server/runner/runner_main.h"

namespace lm::cmd {
namespace {

constexpr std::array kCommands{
    CommandRow{"run", "", "MODEL [PROMPT...]", "Chat with a model, or answer one prompt",
               run_command},
    CommandRow{"serve", "start", "", "Serve models to other programs over HTTP", serve_command},
    CommandRow{"ps", "", "[PREFIX]", "Show what the server has in memory", ps_command},
    CommandRow{"stop", "", "MODEL|--request ID", "Unload a model, or end a request", stop_command},
    CommandRow{"pull", "", "MODEL...", "Download models from the hub", pull_command},
    CommandRow{"search", "", "TERM...", "Search the hub for models", search_command},
    CommandRow{"fit", "", "[MODEL]", "Show what of a model fits this machine, and how fast it is",
               fit_command},
    CommandRow{"devices", "", "", "Show what models can run on", devices_command},
    CommandRow{"update", "", "[MODEL...]", "Fetch newer versions of pulled models", update_command},
    CommandRow{"list", "ls", "[PREFIX]", "List the models on this machine", list_command},
    CommandRow{"show", "", "MODEL", "Show what a model is and how it is set up", show_command},
    CommandRow{"rm", "", "MODEL...", "Remove models", remove_command},
    CommandRow{"cp", "", "SOURCE DESTINATION", "Give a model a second name", copy_command},
    CommandRow{"create", "", "MODEL", "Make a model from a Modelfile", create_command},
    CommandRow{"import", "", "PATH|--from TOOL", "Take in models that are on this machine already",
               import_command},
    CommandRow{"verify", "", "[MODEL...]", "Check every byte, fetch damaged ones again",
               verify_command},
    CommandRow{"path", "", "MODEL", "Print where a model's files are", path_command},
    CommandRow{"du", "", "", "Show who takes how much of the disk", du_command},
    CommandRow{"prune", "", "", "Delete what no model needs", prune_command},
    CommandRow{"move", "", "DIR", "Move the whole store to another folder", move_command},
    CommandRow{"env", "", "", "Show every setting, its value and where it came from", env_command},
    CommandRow{"embed", "", "MODEL TEXT...|-", "Turn texts into vectors", embed_command},
    CommandRow{"bench", "", "MODEL", "Measure the speed of a model", bench_command},
    CommandRow{"debug", "", "tokenize|detokenize|render|logits|tensor ...",
               "Look inside the engine", debug_command},
    CommandRow{"version", "", "", "Print the version", version_command},
    CommandRow{"help", "", "[COMMAND]", "Show help", help_command},
};

std::string command_list() {
  std::string text;
  for (const CommandRow& row : kCommands) {
    const std::string name =
        row.alias.empty() ? std::string(row.name) : fmt::format("{}, {}", row.name, row.alias);
    text += fmt::format("  {:<12}{}\n", name, row.summary);
  }
  return text;
}

void print_overview() {
  print(
      fmt::format("Runs large language models on this machine.\n\nUsage: lm COMMAND [ARGUMENTS]\n\n"
                  "Commands:\n{}\nFlags:\n  -v, --version  Print the version\n  -h, --help     "
                  "Print this help\n\nMore on a command: lm COMMAND --help\n",
                  command_list()));
}

/// Runs the command that the words name.
Result<ExitCode> dispatch(const std::vector<std::string>& words, bool& json) {
  if (words.empty()) {
    print_overview();
    return ExitCode::ok;
  }
  const std::string& first = words.front();
  if (first == "-v" || first == "--version") {
    CommandLine line{.command = "version", .arguments = {}};
    return version_command(line);
  }
  if (first == "-h" || first == "--help") {
    print_overview();
    return ExitCode::ok;
  }
  const CommandRow* row = find_command(first);
  if (row == nullptr) {
    return usage_error(
        "lm", fmt::format("unknown {} '{}'", first.starts_with('-') ? "flag" : "command", first),
        "run: lm --help");
  }
  CommandLine line{.command = row->name, .arguments = std::span(words).subspan(1)};
  Result<ExitCode> result = row->run(line);
  json = line.json;
  return result;
}

/// A command line from its words to its exit code. Throws nothing but std::bad_alloc: exceptions of
/// libraries end here, as any failure.
ExitCode run_words(int argc, char** argv, bool& json) {
  try {
    const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    auto result = dispatch(words, json);
    if (result) {
      return *result;
    }
    print_failure(result.error(), json);
    return result.error().exit;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    print_failure({"failed", "lm", error.what()}, json);
    return ExitCode::failed;
  }
}

/// Where exceptions end that nobody could catch. Destructors of libraries may ask for memory
/// (nlohmann::json's does); when there is none, that is said like any other failure.
[[noreturn]] void on_terminate() noexcept {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type != nullptr && *type == typeid(std::bad_alloc)) {
    print_out_of_memory(false);
    leave_now(static_cast<int>(ExitCode::failed));
  }
  std::abort();
}

}  // namespace

std::span<const CommandRow> command_rows() {
  return kCommands;
}

const CommandRow* find_command(std::string_view name) {
  const auto it = std::ranges::find_if(
      kCommands, [name](const CommandRow& row) { return row.name == name || row.alias == name; });
  return it == kCommands.end() || name.empty() ? nullptr : &*it;
}

Result<ExitCode> help_command(CommandLine& line) {
  bool markdown = false;
  std::optional<std::string> name;
  Arguments arguments(line);
  arguments.flag("--markdown", markdown, "print the table of commands as Markdown");
  arguments.positional("COMMAND", name);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (markdown) {
    print("| Command | What it does |\n|---|---|\n");
    for (const CommandRow& row : kCommands) {
      std::string usage =
          fmt::format("lm {}{}{}", row.name, row.arguments.empty() ? "" : " ", row.arguments);
      for (std::size_t at = 0; (at = usage.find('|', at)) != std::string::npos; at += 2) {
        usage.replace(at, 1, "\\|");
      }
      print(fmt::format("| `{}` | {} |\n", usage, row.summary));
    }
    return ExitCode::ok;
  }
  if (!name) {
    print_overview();
    return ExitCode::ok;
  }
  const CommandRow* row = find_command(*name);
  if (row == nullptr) {
    return usage_error("lm help", fmt::format("unknown command '{}'", *name), "run: lm --help");
  }
  const std::vector<std::string> help{"--help"};
  CommandLine other{.command = row->name, .arguments = help};
  return row->run(other);
}

}  // namespace lm::cmd

int main(int argc, char** argv) {
  using lm::cmd::ExitCode;
  if (argc > 1 && std::string_view(argv[1]) == lm::server::kRunnerWord) {
    return lm::server::runner_main();  // started by lm serve, not by people
  }
  lm::cmd::install_signal_handlers();
  std::set_terminate(lm::cmd::on_terminate);
  bool json = false;
  ExitCode code = ExitCode::failed;
  try {
    code = lm::cmd::run_words(argc, argv, json);
  } catch (const std::bad_alloc&) {
    lm::cmd::print_out_of_memory(json);
  }
  lm::cmd::flush();
  return static_cast<int>(code);
}
