/// The options of a generation by their API names: one table for --set, PARAMETER, /set parameter
/// and stored models.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine/messages.h"

namespace lm::api {

/// Values as they are shown and stored: name -> texts; several only for "stop".
using ParameterTexts = std::map<std::string, std::vector<std::string>>;

/// What a generation is told. Layering: default < model's parameters < the user's.
struct GenerationOptions {
  SamplerParams sampler;
  std::vector<std::string> stop;
  std::int32_t max_tokens = -1;
  std::int32_t n_keep = 4;
  std::optional<std::uint32_t> n_ctx;  ///< none: setting or automatic
  std::optional<std::uint32_t> n_batch;
  std::optional<std::uint32_t> n_threads;
  std::optional<std::uint32_t> draft_tokens;  ///< none: the engine's choice

  /// Sets one option from text, with its range. `stop` appends. Errors: invalid_argument naming
  /// field, value and range.
  Result<void> set(std::string_view name, std::string_view value);
  /// Sets all; several values only for stop, which they replace.
  Result<void> set_all(const ParameterTexts& texts);
};

/// True for a name that `set` takes.
bool is_parameter(std::string_view name);
/// True for an old name that is accepted with a warning and ignored.
bool is_retired_parameter(std::string_view name);
/// Names that `set` takes, for messages and completion.
std::vector<std::string_view> parameter_names();
/// "name value" lines, names padded to 30, strings quoted.
std::string parameters_text(const ParameterTexts& texts);
/// Adds a checked value: stop accumulates, others are replaced.
Result<void> add_parameter(ParameterTexts& texts, std::string_view name, std::string_view value);

}  // namespace lm::api
