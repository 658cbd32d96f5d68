// lm debug: what the engine sees and computes, in forms that stay stable for scripts.
#include "cmd/debug.h"

#include <array>

#include <fmt/format.h>

#include "cmd/output.h"

namespace lm::cmd {
namespace {

struct DebugRow {
  std::string_view name;
  std::string_view arguments;
  std::string_view summary;
  Result<ExitCode> (*run)(CommandLine&);
};

constexpr std::array kDebugCommands{
    DebugRow{"tokenize", "MODEL [TEXT|-]", "Text to token ids, as JSON", debug_tokenize},
    DebugRow{"detokenize", "MODEL ID...", "Token ids to text", debug_detokenize},
    DebugRow{"render", "MODEL --messages FILE | --template FILE --context FILE",
             "The prompt of a conversation", debug_render},
    DebugRow{"logits", "MODEL --ids 1,2,3", "Logits and greedy tokens, as JSON", debug_logits},
    DebugRow{"tensor", "MODEL NAME", "A tensor's values, as JSON", debug_tensor},
    DebugRow{"grammar", "--schema FILE | --gbnf FILE [TEXT|-]",
             "Does it allow the text? 0 yes, 1 no, 2 it can't be compiled", debug_grammar},
};

void print_overview() {
  print("Look inside the engine.\n\nUsage: lm debug COMMAND ...\n\nCommands:\n");
  for (const DebugRow& row : kDebugCommands) {
    print(fmt::format("  {:<12}{}\n{:14}lm debug {} {}\n", row.name, row.summary, "", row.name,
                      row.arguments));
  }
}

}  // namespace

Result<ExitCode> debug_command(CommandLine& line) {
  if (line.arguments.empty() || line.arguments[0] == "--help" || line.arguments[0] == "-h") {
    if (line.arguments.empty()) {
      return usage_error("lm debug", "COMMAND is missing", "run: lm debug --help");
    }
    print_overview();
    return ExitCode::ok;
  }
  const std::string& name = line.arguments[0];
  for (const DebugRow& row : kDebugCommands) {
    if (row.name == name) {
      const std::string full = fmt::format("debug {}", name);
      CommandLine inner{.command = full, .arguments = line.arguments.subspan(1)};
      return row.run(inner);
    }
  }
  return usage_error("lm debug", fmt::format("unknown command '{}'", name), "run: lm debug --help");
}

}  // namespace lm::cmd
