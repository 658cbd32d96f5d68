#include "cmd/devices.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "backends/discover.h"
#include "cmd/settings.h"

namespace lm::cmd {
Result<std::vector<std::shared_ptr<Backend>>> open_devices(const DeviceChoice& choice) {
  std::string spec;
  if (choice.spec) {
    spec = *choice.spec;
    if (!is_backend_spec(spec)) {
      return usage_error(
          "--backend",
          fmt::format("'{}' is none of auto, cpu, cuda[:i], vulkan[:i] or a list of them", spec));
    }
  } else {
    LM_TRY(spec, backend_setting());
  }
  DiscoverOptions options;
  options.cpu.n_threads = choice.n_threads.value_or(0);
  LM_TRY(options.cpu.isa_limit, isa_setting());
  LM_TRY(options.cpu.memory_limit, cpu_memory_setting());
  std::vector<std::shared_ptr<Backend>> devices;
  std::string_view rest = spec;
  while (true) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    LM_TRY(std::unique_ptr<Backend> device, open_backend(rest.substr(0, comma), options));
    devices.push_back(std::move(device));
    if (comma == rest.size()) {
      return devices;
    }
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace lm::cmd
