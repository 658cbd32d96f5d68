/// The devices that --backend and LM_BACKEND name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "cmd/report.h"

namespace lm::cmd {

struct DeviceChoice {
  std::optional<std::string> spec;         ///< none: LM_BACKEND, else "auto"
  std::optional<std::uint32_t> n_threads;  ///< of the CPU; none or 0: its own choice
};

/// Opens them, in the order given. Errors: usage (a spec that breaks its grammar), unsupported (not
/// on this machine).
Result<std::vector<std::shared_ptr<Backend>>> open_devices(const DeviceChoice& choice);

}  // namespace lm::cmd
