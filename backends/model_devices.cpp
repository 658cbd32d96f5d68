#include "backends/model_devices.h"

#include <algorithm>

#include <fmt/format.h>

namespace lm {
namespace {

bool is_gpu(DeviceKind kind) {
  return kind == DeviceKind::cuda || kind == DeviceKind::vulkan;
}

std::vector<std::string_view> split(std::string_view spec) {
  std::vector<std::string_view> names;
  for (;;) {
    const std::size_t comma = std::min(spec.find(','), spec.size());
    names.push_back(spec.substr(0, comma));
    if (comma == spec.size()) {
      return names;
    }
    spec.remove_prefix(comma + 1);
  }
}

}  // namespace

Result<ModelDevices> open_model_devices(std::string_view spec, const DiscoverOptions& options) {
  ModelDevices result;
  bool host = false;
  const auto add = [&](std::unique_ptr<Backend> device) {
    const DeviceKind kind = device->info().kind;
    host = host || !is_gpu(kind);
    result.gpu_named = result.gpu_named || (is_gpu(kind) && spec != "auto");
    // The planner wants the host last.
    auto at = is_gpu(kind) ? std::ranges::find_if(
                                 result.devices,
                                 [](const auto& other) { return !is_gpu(other->info().kind); })
                           : result.devices.end();
    result.devices.insert(at, std::move(device));
  };
  if (spec == "auto") {
    for (const DeviceInfo& info : discover(options).devices) {
      if (!is_gpu(info.kind)) {
        continue;
      }
      if (auto device = open_backend(info.id, options)) {
        add(std::move(*device));
      } else {
        result.notes.push_back(fmt::format("{}: {}", info.id, device.error().problem));
      }
    }
  } else {
    for (const std::string_view name : split(spec)) {
      LM_TRY(std::unique_ptr<Backend> device, open_backend(name, options));
      add(std::move(device));
    }
  }
  if (!host) {
    add(make_cpu_backend(options.cpu));
  }
  return result;
}

}  // namespace lm
