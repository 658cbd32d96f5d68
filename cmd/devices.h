/// Where a model runs: --backend, --gpu-layers, --max-vram, --threads and their settings.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/model_devices.h"
#include "cmd/arguments.h"
#include "cmd/report.h"
#include "runtime/engine/loader.h"

namespace lm::cmd {

struct DeviceChoice {
  std::optional<std::string> spec;         ///< none: LM_BACKEND, else "auto"
  std::optional<std::uint32_t> n_threads;  ///< of the CPU; none or 0: its own choice
  std::optional<std::uint32_t> gpu_layers;
  std::optional<std::uint64_t> max_vram;  ///< bytes on each GPU at most
};

/// The flags as they were given.
struct DeviceArguments {
  std::optional<std::string> backend, max_vram;
  std::optional<std::int64_t> gpu_layers, threads;
};
void declare(Arguments& arguments, DeviceArguments& given);
/// Errors: usage.
Result<DeviceChoice> device_choice(const DeviceArguments& given);

/// The reference backend alone: what others are compared with.
DeviceChoice reference_device();

/// Opens them. Errors: usage (a spec that breaks its grammar), unsupported (not on this machine).
Result<ModelDevices> open_devices(const DeviceChoice& choice);

/// What the loader is to plan. `session` comes from the caller.
Result<LoadWish> load_wish(const DeviceChoice& choice, const ModelDevices& devices,
                           const SessionOptions& session);

/// Loads a model onto devices that were opened; says on stderr what did not go as planned.
Result<LoadOutcome> load_on_devices(GgufFile file, ModelDevices devices, const DeviceChoice& choice,
                                    const SessionOptions& session, bool need_tokenizer,
                                    const StartOnModel& start);

}  // namespace lm::cmd
