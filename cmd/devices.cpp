#include "cmd/devices.h"

#include <cstdlib>

#include <fmt/format.h>

#include "cmd/format.h"
#include "cmd/output.h"
#include "cmd/settings.h"
#include "store/store.h"

namespace lm::cmd {

void declare(Arguments& arguments, DeviceArguments& given) {
  arguments.text("--backend", given.backend, "B", "auto, cpu, cuda[:i], vulkan[:i], or several");
  arguments.integer("--gpu-layers", given.gpu_layers, 0, 1 << 20,
                    "layers on the GPU; without it as many as fit");
  arguments.text("--max-vram", given.max_vram, "SIZE", "memory to use on each GPU at most");
  arguments.integer("-t,--threads", given.threads, 0, 1024, "CPU threads; 0: automatic");
}

Result<DeviceChoice> device_choice(const DeviceArguments& given) {
  DeviceChoice choice{.spec = given.backend, .n_threads = {}, .gpu_layers = {}, .max_vram = {}};
  if (given.backend && !is_backend_spec(*given.backend)) {
    return usage_error(
        "--backend",
        fmt::format("'{}' is none of auto, cpu, cuda[:i], vulkan[:i] or a list of them",
                    *given.backend));
  }
  if (given.threads) {
    choice.n_threads = static_cast<std::uint32_t>(*given.threads);
  }
  if (given.gpu_layers) {
    choice.gpu_layers = static_cast<std::uint32_t>(*given.gpu_layers);
  }
  if (given.max_vram) {
    choice.max_vram = parse_bytes(*given.max_vram);
    if (!choice.max_vram) {
      return usage_error("--max-vram", fmt::format("'{}' is no size", *given.max_vram),
                         "for example 6G or 5500M");
    }
  }
  return choice;
}

DeviceChoice reference_device() {
  return {.spec = "reference", .n_threads = {}, .gpu_layers = {}, .max_vram = {}};
}

namespace {

/// Compiled pipelines are kept in the store's cache unless the user names another folder.
void name_pipeline_folder() {
  if (const auto home = store::default_home()) {
    setenv("LM_VULKAN_CACHE", (store::cache_path(*home) / "vulkan").c_str(), 0);
  }
}

}  // namespace

Result<ModelDevices> open_devices(const DeviceChoice& choice) {
  name_pipeline_folder();
  std::string spec;
  if (choice.spec) {
    spec = *choice.spec;
  } else {
    LM_TRY(spec, backend_setting());
  }
  DiscoverOptions options;
  options.cpu.n_threads = choice.n_threads.value_or(0);
  LM_TRY(options.cpu.isa_limit, isa_setting());
  LM_TRY(options.cpu.memory_limit, cpu_memory_setting());
  LM_TRY(ModelDevices devices, open_model_devices(spec, options));
  for (const std::string& note : devices.notes) {
    print_warning(note);
  }
  return devices;
}

Result<LoadWish> load_wish(const DeviceChoice& choice, const ModelDevices& devices,
                           const SessionOptions& session) {
  LM_TRY(const std::uint64_t overhead, gpu_overhead_setting());
  return LoadWish{.session = session,
                  .gpu_layers = choice.gpu_layers,
                  .max_vram = choice.max_vram,
                  .gpu_overhead = overhead,
                  .gpu_required = devices.gpu_named};
}

Result<LoadOutcome> load_on_devices(GgufFile file, ModelDevices devices, const DeviceChoice& choice,
                                    const SessionOptions& session, bool need_tokenizer,
                                    const StartOnModel& start) {
  LM_TRY(LoadWish wish, load_wish(choice, devices, session));
  wish.need_tokenizer = need_tokenizer;
  LM_TRY(LoadOutcome outcome, load_planned(std::make_shared<const GgufFile>(std::move(file)),
                                           std::move(devices.devices), wish, start));
  for (const std::string& line : outcome.replans) {
    print_warning(line);
  }
  return outcome;
}

}  // namespace lm::cmd
