/// Which devices there are, and how one is opened by name.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/cpu_backend.h"

namespace lm {

struct DiscoverOptions {
  CpuOptions cpu;
  /// Where modules lie; empty: default_module_dirs().
  std::vector<std::filesystem::path> module_dirs;
  /// Whether the system shows a GPU; unset: look into /dev. Without one the Vulkan driver, which
  /// then computes in software, is woken by name only.
  std::optional<bool> gpu_shown;
};

/// The program's own folder, and ../lib/lm beside it.
std::vector<std::filesystem::path> default_module_dirs();

/// What became of one known module: one line, also when it is absent.
struct ModuleStatus {
  std::string name;  ///< "cuda"
  bool loaded = false;
  std::string status;  ///< "2 devices", "not part of this build (looked in /usr/bin)", "built for
                       ///< another lm: ..."
};

struct Discovery {
  /// The CPU first, then those of modules, each card once (by UUID or PCI address). Devices that
  /// compute in software are not among them.
  std::vector<DeviceInfo> devices;
  std::vector<ModuleStatus> modules;
};

/// Looks at everything; never fails, what does not work says so in its status.
Discovery discover(const DiscoverOptions& options = {});

/// Opens "cpu", "reference" (scalar, for comparisons), "cuda", "cuda:1", "vulkan:0", or "auto": the
/// first device of the first module that has one which is no software, else the CPU.
/// Errors: invalid_argument for a name that is none or a device number that does not exist; module
/// when the module is absent, refused or fails; and whatever the device says.
Result<std::unique_ptr<Backend>> open_backend(std::string_view spec,
                                              const DiscoverOptions& options = {});

}  // namespace lm
