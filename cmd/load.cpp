#include "cmd/load.h"

#include <fmt/format.h>

#include "cmd/model_text.h"
#include "cmd/settings.h"
#include "runtime/chat/default_template.h"

namespace lm::cmd {

Result<LoadSettings> with_parameters(const LoadSettings& settings,
                                     const std::optional<store::Manifest>& manifest,
                                     const api::ParameterTexts& chosen) {
  api::GenerationOptions options;
  if (manifest) {
    LM_CHECK(options.set_all(manifest->parameters));
  }
  LM_CHECK(options.set_all(chosen));
  LoadSettings merged = settings;
  merged.n_ctx = settings.n_ctx ? settings.n_ctx : options.n_ctx;
  merged.n_batch = settings.n_batch ? settings.n_batch : options.n_batch;
  merged.draft_tokens = settings.draft_tokens ? settings.draft_tokens : options.draft_tokens;
  merged.devices.n_threads =
      settings.devices.n_threads ? settings.devices.n_threads : options.n_threads;
  return merged;
}

Result<SessionOptions> session_options(const LoadSettings& settings) {
  SessionOptions options;
  if (settings.n_ctx) {
    options.n_ctx = *settings.n_ctx;
  } else {
    LM_TRY(options.n_ctx, context_length_setting());
  }
  if (settings.kv_type) {
    options.kv_type = *settings.kv_type;
  } else {
    LM_TRY(options.kv_type, kv_type_setting());
  }
  options.n_batch = settings.n_batch.value_or(options.n_batch);
  return options;
}

Result<std::unique_ptr<LoadedModel>> load_model(ResolvedModel resolved,
                                                const LoadSettings& settings) {
  const auto begin = std::chrono::steady_clock::now();
  auto loaded = std::make_unique<LoadedModel>();
  loaded->template_source = chat_template_of(resolved);
  if (loaded->template_source.empty()) {
    if (const auto fallback = default_template(resolved.file.metadata())) {
      loaded->template_source = fallback->source;
    }
  }
  loaded->name = std::move(resolved.name);
  loaded->manifest = std::move(resolved.manifest);
  loaded->store_in_use = std::move(resolved.store_in_use);
  EngineOptions options;
  LM_TRY(options.session, session_options(settings));
  loaded->kv_type = options.session.kv_type;
  LM_TRY(ModelDevices devices, open_devices(settings.devices));
  options.draft_tokens = settings.draft_tokens.value_or(options.draft_tokens);
  if (settings.draft) {
    // On the CPU, whose memory the model's own plan then finds smaller by it.
    LM_TRY(ResolvedModel draft, resolve_model(*settings.draft, {.for_running = true}));
    LoadOptions beside;
    beside.devices = {devices.devices.back()};
    LM_TRY(loaded->draft_model, Model::load(std::move(draft.file), beside));
    options.draft_model = loaded->draft_model;
  }
  const auto start = [&](std::shared_ptr<const Model> model,
                         const SessionOptions& placed) -> lm::Result<void> {
    options.session = placed;
    LM_TRY(loaded->engine, Engine::create(std::move(model), options));
    return {};
  };
  LM_TRY(LoadOutcome outcome, load_on_devices(std::move(resolved.file), std::move(devices),
                                              settings.devices, options.session, true, start));
  loaded->model = std::move(outcome.model);
  for (const auto& device : loaded->model->devices()) {
    loaded->backend += (loaded->backend.empty() ? "" : ",") + device->info().id;
  }
  for (const std::string& warning : loaded->model->warnings()) {
    print_warning(warning);
  }
  for (const std::string& note : loaded->engine->notes()) {
    print_warning(note);
  }
  LM_TRY(const bool debug, setting_flag("LM_DEBUG"));
  if (debug || settings.explain) {
    for (const std::string& line : loaded->engine->placement_lines()) {
      print_note(line);
    }
    for (const std::string& reason : outcome.reasons) {
      print_note(reason);
    }
  }
  loaded->load_time = std::chrono::steady_clock::now() - begin;
  return loaded;
}

}  // namespace lm::cmd
