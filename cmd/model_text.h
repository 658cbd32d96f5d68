/// A model described: the blocks of `lm show`, its JSON object, its Modelfile.
#pragma once

#include <string>

#include "cmd/model_json.h"
#include "cmd/modelfile.h"
#include "cmd/report.h"
#include "cmd/resolve.h"

namespace lm::cmd {

/// Indented blocks: Model, Capabilities, Parameters, (Metadata, Tensors when verbose), System,
/// License.
Result<std::string> show_text(const ResolvedModel& model, bool verbose);
/// The object of POST /api/show.
Result<nlohmann::ordered_json> show_json(const ResolvedModel& model, bool verbose);
/// A Modelfile that makes the model again.
Modelfile modelfile_of(const ResolvedModel& model);
/// The template that chats use: the model's own, else the file's; empty when there is none.
std::string chat_template_of(const ResolvedModel& model);
/// All licences, one after the other; the file's general.license when the model carries none.
std::string license_text(const ResolvedModel& model);

}  // namespace lm::cmd
