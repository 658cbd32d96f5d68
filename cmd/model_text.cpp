#include "cmd/model_text.h"

#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>

#include "cmd/format.h"
#include "cmd/terminal.h"
#include "runtime/chat/dialect.h"
#include "runtime/model/model.h"

namespace lm::cmd {
namespace {

using Rows = std::vector<std::pair<std::string, std::string>>;

/// A block: header indented by two, rows by four, second column aligned.
std::string block(std::string_view header, const Rows& rows) {
  std::size_t width = 0;
  for (const auto& [left, right] : rows) {
    width = std::max(width, right.empty() ? 0 : display_width(escape_for_terminal(left)));
  }
  std::string text = fmt::format("  {}\n", header);
  for (const auto& [left, right] : rows) {
    const std::string name = escape_for_terminal(left);
    text += "    " + name;
    if (!right.empty()) {
      text.append(width - display_width(name) + 4, ' ');
      text += escape_for_terminal(right);
    }
    text += '\n';
  }
  return text + "\n";
}

Rows lines_of(std::string_view text, std::size_t most) {
  Rows rows;
  while (!text.empty()) {
    if (rows.size() == most) {
      rows.emplace_back("...", "");
      break;
    }
    const std::size_t end = std::min(text.find('\n'), text.size());
    rows.emplace_back(std::string(text.substr(0, end)), "");
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return rows;
}

/// A value short enough for one line.
std::string short_value(const MetadataValue& value) {
  if (value.type == GgufType::array && value.count > 8) {
    return fmt::format("[{} x {}]", value.count, type_name(value.element));
  }
  std::string text = dump_json(value_json(value, 8), -1);
  constexpr std::size_t kLongest = 120;
  if (text.size() > kLongest) {
    std::size_t cut = kLongest;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) {
      --cut;
    }
    text.resize(cut);
    text += "...";
  }
  return text;
}

std::string shape_text(const GgufTensor& tensor) {
  std::string text = "[";
  for (std::uint32_t d = 0; d < tensor.n_dims; ++d) {
    text += fmt::format("{}{}", d == 0 ? "" : ", ", tensor.ne[d]);
  }
  return text + "]";
}

std::int64_t modified_at(const ResolvedModel& model) {
  if (model.manifest) {
    return model.manifest->modified_unix;
  }
  struct stat info{};
  return !model.paths.empty() && ::stat(model.paths.front().c_str(), &info) == 0 ? info.st_mtime
                                                                                 : 0;
}

/// What the file can do, and what the template in force says of tools and thinking.
std::vector<std::string> capabilities_of(const ModelSummary& summary,
                                         const std::string& chat_template) {
  std::vector<std::string> out = summary.capabilities;
  std::erase(out, "tools");
  if (chat_template.contains("tools") || chat_template.contains("tool_call")) {
    out.emplace_back("tools");
  }
  if (think_switch(chat_template).thinks) {
    out.emplace_back("thinking");
  }
  return out;
}

}  // namespace

std::string chat_template_of(const ResolvedModel& model) {
  if (model.manifest && !model.manifest->chat_template.empty()) {
    return model.manifest->chat_template;
  }
  const auto text = model.file.metadata().try_string("tokenizer.chat_template");
  return text && *text ? std::string(**text) : std::string();
}

std::string license_text(const ResolvedModel& model) {
  if (model.manifest && !model.manifest->licenses.empty()) {
    return fmt::format("{}", fmt::join(model.manifest->licenses, "\n"));
  }
  const auto text = model.file.metadata().try_string("general.license");
  return text && *text ? std::string(**text) : std::string();
}

Modelfile modelfile_of(const ResolvedModel& model) {
  Modelfile file;
  for (const std::filesystem::path& path : model.paths) {
    std::error_code ignored;
    const std::filesystem::path absolute = std::filesystem::absolute(path, ignored);
    file.from.push_back(ignored ? path.string() : absolute.string());
  }
  if (model.manifest) {
    const store::Manifest& manifest = *model.manifest;
    file.parameters = manifest.parameters;
    file.chat_template = manifest.chat_template;
    file.has_template = !manifest.chat_template.empty();
    file.system = manifest.system;
    file.has_system = !manifest.system.empty();
    file.messages = manifest.messages;
    file.licenses = manifest.licenses;
  }
  return file;
}

Result<std::string> show_text(const ResolvedModel& model, bool verbose) {
  LM_TRY(const ModelSummary summary, summarize(model.file));
  Rows rows{{"architecture", summary.architecture.empty() ? "-" : summary.architecture},
            {"parameters", format_count(summary.parameter_count)}};
  if (summary.n_ctx_train > 0) {
    rows.emplace_back("context length", fmt::format("{}", summary.n_ctx_train));
  }
  if (summary.n_embd > 0) {
    rows.emplace_back("embedding length", fmt::format("{}", summary.n_embd));
  }
  if (!summary.quantization.empty()) {
    rows.emplace_back("quantization", summary.quantization);
  }
  std::string text = block("Model", rows);
  const std::vector<std::string> capabilities = capabilities_of(summary, chat_template_of(model));
  if (!capabilities.empty()) {
    rows.clear();
    for (const std::string& capability : capabilities) {
      rows.emplace_back(capability, "");
    }
    text += block("Capabilities", rows);
  }
  if (model.manifest && !model.manifest->registry_template.empty()) {
    text += block("Template", {{"of the GGUF; the registry's Go template is kept, not used", ""}});
  }
  if (model.manifest && !model.manifest->parameters.empty()) {
    rows.clear();
    for (const auto& [name, values] : model.manifest->parameters) {
      for (const std::string& value : values) {
        rows.emplace_back(name, name == "stop" ? dump_json(value, -1) : value);
      }
    }
    text += block("Parameters", rows);
  }
  if (verbose) {
    rows.clear();
    for (const Metadata::Entry& entry : model.file.metadata().entries()) {
      rows.emplace_back(std::string(entry.key), short_value(entry.value));
    }
    text += block("Metadata", rows);
    rows.clear();
    for (const GgufTensor& tensor : model.file.tensors()) {
      rows.emplace_back(std::string(tensor.name),
                        fmt::format("{:<8}{}", layout(tensor.dtype).name, shape_text(tensor)));
    }
    text += block("Tensors", rows);
  }
  if (model.manifest && !model.manifest->system.empty()) {
    text += block("System", lines_of(model.manifest->system, 1000));
  }
  if (const std::string license = license_text(model); !license.empty()) {
    text += block("License", lines_of(license, 2));
  }
  return text;
}

Result<nlohmann::ordered_json> show_json(const ResolvedModel& model, bool verbose) {
  LM_TRY(const ModelSummary summary, summarize(model.file));
  nlohmann::ordered_json details =
      details_json(summary.architecture, summary.quantization, summary.parameter_count);
  details["context_length"] = summary.n_ctx_train;
  details["embedding_length"] = summary.n_embd;
  nlohmann::ordered_json document{
      {"license", license_text(model)},
      {"modelfile", print_modelfile(modelfile_of(model))},
      {"parameters", model.manifest ? api::parameters_text(model.manifest->parameters) : ""},
      {"template", chat_template_of(model)},
      {"system", model.manifest ? model.manifest->system : ""},
      {"details", std::move(details)}};
  if (model.manifest && !model.manifest->messages.empty()) {
    document["messages"] = nlohmann::ordered_json::array();
    for (const store::ManifestMessage& message : model.manifest->messages) {
      document["messages"].push_back({{"role", message.role}, {"content", message.content}});
    }
  }
  if (model.manifest && !model.manifest->registry_template.empty()) {
    document["registry_template"] = model.manifest->registry_template;
  }
  document["model_info"] = metadata_json(model.file, verbose);
  if (verbose) {
    document["tensors"] = tensors_json(model.file);
  }
  document["capabilities"] = capabilities_of(summary, chat_template_of(model));
  document["modified_at"] = format_time(modified_at(model));
  return document;
}

}  // namespace lm::cmd
