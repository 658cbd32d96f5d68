#include "server/api/shared_fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "server/api/duration.h"

namespace lm::api {
namespace {

/// Options of other programs and other days: accepted, without effect.
constexpr std::array<std::string_view, 13> kIgnoredOptions{
    "numa",      "low_vram", "f16_kv",   "vocab_only", "logits_all",       "embedding_only",
    "use_mlock", "use_mmap", "main_gpu", "tfs_z",      "penalize_newline", "n_discard",
    "num_gqa"};

constexpr std::array<std::string_view, 4> kLevels{"low", "medium", "high", "max"};

/// The text of a value as the table of options reads it; strings only for what is text.
std::optional<std::string> option_text(const Json& value) {
  if (value.is_number() || value.is_object() || value.is_array()) {
    return dump(value);
  }
  return std::nullopt;
}

void set_option(FieldReader& object, const char* key, const std::string& option,
                std::vector<std::string> texts, Asked& asked) {
  GenerationOptions checked;
  if (auto set = checked.set_all({{option, texts}}); !set) {
    object.fail_as(key, fmt::format("{}: {}", object.name(key), set.error().problem));
    return;
  }
  asked.options[option] = std::move(texts);
}

bool asks_for_nothing(const Json& value) {
  return value.is_null() || value == Json(false) || value == Json(0) || value == Json(1) ||
         value == Json("") || value == Json("auto") || value == Json("default") ||
         ((value.is_array() || value.is_object()) && value.empty());
}

}  // namespace

void read_model(FieldReader& body, Asked& asked) {
  asked.model = body.text("model").value_or("");
  if (asked.model.empty()) {
    body.fail_as("model", "model is required");
  }
}

void read_keep_alive(FieldReader& body, Asked& asked) {
  const Json* value = body.find("keep_alive");
  if (value == nullptr) {
    return;
  }
  std::optional<ParsedDuration> parsed;
  if (value->is_number()) {
    parsed = parse_duration(fmt::format("{:f}", value->get<double>()));
  } else if (value->is_string()) {
    parsed = parse_duration(value->get_ref<const std::string&>());
  }
  if (!parsed) {
    body.fail("keep_alive",
              "is neither a number of seconds nor a duration such as \"5m\" or \"1h30m\"");
    return;
  }
  asked.load.keep_alive = KeepAlive{parsed->forever, parsed->value};
}

void read_option(FieldReader& object, const char* key, const char* option, Asked& asked) {
  const Json* value = object.find(key);
  if (value == nullptr) {
    return;
  }
  if (const auto text = option_text(*value)) {
    set_option(object, key, option, {*text}, asked);
  } else {
    object.fail(key, "is of the wrong type");
  }
}

void read_options(FieldReader& body, Asked& asked) {
  const Json* options = body.object("options");
  if (options == nullptr) {
    return;
  }
  FieldReader reader(*options, body.name("options"), body.error());
  for (const auto& [name, value] : options->items()) {
    if (value.is_null() || !body.ok()) {
      continue;
    }
    if (name == "stop") {
      read_stop(reader, "stop", asked);
    } else if (name == "num_gpu") {
      if (const auto layers = reader.integer("num_gpu", -1, INT32_MAX)) {
        asked.load.gpu_layers = static_cast<std::int32_t>(*layers);
      }
    } else if (name == "num_ctx" && integer_of(value) == 0) {
      continue;  // automatic
    } else if (is_parameter(name)) {
      read_option(reader, name.c_str(), name.c_str(), asked);
    } else {
      asked.warnings.push_back(
          fmt::format("option '{}' {}", name.substr(0, 64),
                      std::ranges::find(kIgnoredOptions, name) != kIgnoredOptions.end()
                          ? "has no effect here"
                          : "is not known and was ignored"));
    }
  }
}

void read_top_level_options(FieldReader& body, std::span<const std::string_view> names,
                            Asked& asked) {
  for (const std::string_view name : names) {
    const std::string option(name);
    if (!asked.options.contains(option)) {
      read_option(body, option.c_str(), option.c_str(), asked);
    }
  }
}

void read_stop(FieldReader& body, const char* key, Asked& asked) {
  if (asked.options.contains("stop")) {
    return;
  }
  if (auto stops = body.texts(key); stops && !stops->empty()) {
    // An empty string in the list says nothing; so do some clients.
    std::erase_if(*stops, [](const std::string& s) { return s.empty(); });
    if (stops->size() > 256) {
      body.fail(key, "holds more than 256 strings");
      return;
    }
    if (!stops->empty()) {
      asked.options["stop"] = std::move(*stops);
    }
  }
}

void read_think(FieldReader& body, Asked& asked) {
  const Json* value = body.find("think");
  if (value == nullptr) {
    return;
  }
  if (value->is_boolean()) {
    asked.think = value->get<bool>() ? "true" : "false";
    return;
  }
  const std::string level = value->is_string() ? value->get<std::string>() : std::string();
  if (level == "true" || level == "false" || std::ranges::find(kLevels, level) != kLevels.end()) {
    asked.think = level;
    return;
  }
  body.fail_as("think", fmt::format("invalid think value {}: must be true, false, \"low\", "
                                    "\"medium\", \"high\" or \"max\"",
                                    dump(*value).substr(0, 40)));
}

void read_effort(FieldReader& object, const char* key, Asked& asked) {
  const auto effort = object.text(key);
  if (!effort) {
    return;
  }
  if (*effort == "none") {
    asked.think = "false";
  } else if (*effort == "minimal") {
    asked.think = "low";
  } else if (*effort == "xhigh" || *effort == "ultra") {
    asked.think = "max";
  } else if (std::ranges::find(kLevels, *effort) != kLevels.end()) {
    asked.think = *effort;
  } else {
    object.fail(key, fmt::format("is '{}', must be none, minimal, low, medium, high, xhigh or max",
                                 effort->substr(0, 40)));
  }
}

void read_logprobs(FieldReader& body, Asked& asked) {
  asked.logprobs = body.flag("logprobs").value_or(false);
  const Json* top = body.find("top_logprobs");
  if (top == nullptr) {
    return;
  }
  const auto count = integer_of(*top);
  if (!count || *count < 0 || *count > kMaxTopLogprobs) {
    body.fail_as("top_logprobs", "top_logprobs must be between 0 and 20");
    return;
  }
  if (*count > 0 && !asked.logprobs) {
    asked.warnings.emplace_back("top_logprobs has no effect without logprobs");
  }
  asked.top_logprobs = static_cast<std::uint8_t>(*count);
}

void read_logit_bias(FieldReader& body, Asked& asked) {
  const Json* biases = body.object("logit_bias");
  if (biases == nullptr || biases->empty()) {
    return;
  }
  SamplerParams params;
  if (auto set = set_sampler_param(params, "logit_bias", dump(*biases)); !set) {
    body.fail("logit_bias", "must be an object of token ids and numbers from -100 to 100");
    return;
  }
  asked.logit_bias = std::move(params.logit_bias);
}

void set_schema(const Json& schema, Asked& asked) {
  asked.format = {OutputFormat::Kind::schema, dump(schema)};
}

void read_response_format(FieldReader& body, const char* key, Asked& asked) {
  const Json* format = body.object(key);
  if (format == nullptr) {
    return;
  }
  FieldReader reader(*format, body.name(key), body.error());
  const std::string type = reader.text("type").value_or("text");
  if (type == "json_object") {
    asked.format = {OutputFormat::Kind::json, {}};
    return;
  }
  if (type != "json_schema") {
    if (type != "text") {
      reader.fail("type", fmt::format("is '{}', must be text, json_object or json_schema",
                                      type.substr(0, 40)));
    }
    return;
  }
  const Json* inner = reader.object("json_schema");
  FieldReader holder(inner == nullptr ? *format : *inner,
                     inner == nullptr ? body.name(key) : reader.name("json_schema"), body.error());
  const Json* schema = holder.find("schema");
  if (schema == nullptr || (!schema->is_object() && !schema->is_boolean())) {
    holder.fail("schema", "must be a JSON schema");
    return;
  }
  set_schema(*schema, asked);
}

void warn_of_ignored(FieldReader& body, std::span<const std::string_view> names, Asked& asked) {
  for (const std::string_view name : names) {
    const Json* value = body.find(std::string(name).c_str());
    if (value != nullptr && !asks_for_nothing(*value)) {
      asked.warnings.push_back(fmt::format("{} has no effect here and was ignored", name));
    }
  }
}

void take_load_options(FieldReader& body, Asked& asked) {
  GenerationOptions all;
  if (auto set = all.set_all(asked.options); !set) {
    if (body.ok()) {
      body.error() = api_error(set.error());
    }
    return;
  }
  asked.load.n_ctx = all.n_ctx;
  asked.load.n_batch = all.n_batch;
  asked.load.n_threads = all.n_threads;
  asked.load.draft_tokens = all.draft_tokens;
}

}  // namespace lm::api
