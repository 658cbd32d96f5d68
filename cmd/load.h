/// From a resolved model to an engine that answers.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "cmd/devices.h"
#include "cmd/report.h"
#include "cmd/resolve.h"
#include "runtime/engine/engine.h"
#include "runtime/model/model.h"
#include "server/api/generation_options.h"

namespace lm::cmd {

struct LoadSettings {
  DeviceChoice devices;
  std::optional<std::uint32_t> n_ctx;  ///< none: LM_CONTEXT_LENGTH
  std::optional<DType> kv_type;        ///< none: LM_KV_CACHE_TYPE
  std::optional<std::uint32_t> n_batch;
  std::optional<std::string> draft = {};           ///< model that guesses ahead, by name or path
  std::optional<std::uint32_t> draft_tokens = {};  ///< a step
  bool explain = false;                            ///< say on stderr what went where, and why
};

/// A model in memory, with what the store knows of it.
struct LoadedModel {
  std::string name;
  std::optional<store::Manifest> manifest;
  std::string template_source;  ///< Jinja or Go: the model's, else a default; empty: none fits
  std::string backend;          ///< ids of the devices, with commas
  std::chrono::nanoseconds load_time{0};
  DType kv_type = DType::f16;
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Model> draft_model;  ///< guesses ahead; null: none
  std::unique_ptr<Engine> engine;
  store::Fd store_in_use;  ///< of a stored model: `lm move` refuses as long as it is open
};

/// Settings with the load-time parameters (num_ctx, num_batch, num_thread) of a stored model and,
/// over them, the user's. What `settings` itself names stays.
Result<LoadSettings> with_parameters(const LoadSettings& settings,
                                     const std::optional<store::Manifest>& manifest,
                                     const api::ParameterTexts& chosen);

/// The session a setting describes: context, KV type, batch.
Result<SessionOptions> session_options(const LoadSettings& settings);

/// Loads the weights and starts the engine. Warnings of the model go to stderr.
Result<std::unique_ptr<LoadedModel>> load_model(ResolvedModel resolved,
                                                const LoadSettings& settings);

}  // namespace lm::cmd
