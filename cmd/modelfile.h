/// Modelfiles: what a model is made of, as text. Grammar: one INSTRUCTION with its argument a line;
/// values run to the end of the line, or stand in "..." or """...""" (which may span lines).
/// Instructions in any case; # begins a comment line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cmd/report.h"
#include "server/api/generation_options.h"
#include "store/manifest.h"

namespace lm::cmd {

/// A parsed Modelfile.
struct Modelfile {
  std::vector<std::string> from;  ///< names or paths; several for the parts of a split GGUF
  api::ParameterTexts parameters;
  std::string chat_template;
  bool has_template = false;
  std::string system;
  bool has_system = false;
  std::vector<store::ManifestMessage> messages;
  std::vector<std::string> licenses;
  std::vector<std::string> warnings;  ///< retired parameters and the like
};

/// Reads UTF-8 or UTF-16 text (with BOM), at most 4 MiB. `subject` names the file in errors, which
/// carry a line number.
Result<Modelfile> parse_modelfile(std::string_view text, std::string_view subject);

/// Text that `parse_modelfile` reads back to the same value.
std::string print_modelfile(const Modelfile& file);

}  // namespace lm::cmd
