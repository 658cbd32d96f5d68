// lm show: what a model is and how it is set up.
#include <string>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/model_text.h"
#include "cmd/output.h"
#include "cmd/resolve.h"
#include "cmd/terminal.h"

namespace lm::cmd {
namespace {

struct ShowArguments {
  std::string model;
  bool license = false, modelfile = false, parameters = false, chat_template = false,
       system = false;
  bool verbose = false;

  int parts() const { return license + modelfile + parameters + chat_template + system; }
};

/// Text of a model: as it is into files, escaped (but for line ends) on a terminal.
void print_text(std::string text) {
  if (!text.empty() && !text.ends_with('\n')) {
    text += '\n';
  }
  print(stdout_is_terminal() ? escape_lines_for_terminal(text) : text);
}

}  // namespace

Result<ExitCode> show_command(CommandLine& line) {
  ShowArguments given;
  Arguments arguments(line);
  arguments.flag("--license", given.license, "only the licence");
  arguments.flag("--modelfile", given.modelfile, "a Modelfile that makes this model again");
  arguments.flag("--parameters", given.parameters, "only the parameters");
  arguments.flag("--template", given.chat_template, "only the chat template");
  arguments.flag("--system", given.system, "only the system message");
  arguments.flag("-v,--verbose", given.verbose, "metadata and tensors too");
  arguments.flag("--json", line.json, "print JSON");
  arguments.positional("MODEL", given.model);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (given.parts() > 1) {
    return usage_error(
        "lm show",
        "takes at most one of --license, --modelfile, --parameters, --template, --system");
  }
  LM_TRY(const ResolvedModel model, resolve_model(given.model));
  if (line.json) {
    LM_TRY(const nlohmann::ordered_json document, show_json(model, given.verbose));
    print(dump_json(document) + "\n");
  } else if (given.license) {
    print_text(license_text(model));
  } else if (given.modelfile) {
    print_text(print_modelfile(modelfile_of(model)));
  } else if (given.parameters) {
    print_text(model.manifest ? api::parameters_text(model.manifest->parameters) : "");
  } else if (given.chat_template) {
    print_text(chat_template_of(model));
  } else if (given.system) {
    print_text(model.manifest ? model.manifest->system : "");
  } else {
    LM_TRY(const std::string text, show_text(model, given.verbose));
    print(text);
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
