/// This machine, or one that is asked about, as the planner wants to know it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmd/devices.h"
#include "runtime/plan/planner.h"
#include "runtime/plan/speed.h"

namespace lm::cmd {

struct Machine {
  std::vector<PlanDevice> devices;  ///< GPUs, then the CPU
  std::vector<DeviceSpeed> speeds;
  std::vector<std::string> notes;              ///< what is assumed, which modules are missing
  std::vector<std::shared_ptr<Backend>> open;  ///< what `devices` point to
};

enum class Rates {
  known,  ///< from the store, else measured now (two seconds) and kept there
  fresh,  ///< measured now and kept
};
/// The devices of this machine with their rates.
Result<Machine> this_machine(Rates rates = Rates::known);

/// This machine's CPU with another memory, and GPUs of `vram` bytes each, whose speed is that of
/// cards of their size.
Result<Machine> other_machine(std::optional<std::uint64_t> vram, std::optional<std::uint64_t> ram);

}  // namespace lm::cmd
