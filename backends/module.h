/// The seam between the program and backends that are loaded at run time: lm-<name>.so beside the
/// program.
///
/// A module is built from the same sources by the same compiler, and says so in its stamp; nothing
/// else in it is looked at before the stamps agree. After that, C++ objects may cross: a module's
/// Backend is used and deleted like any other. Functions of the table are noexcept in effect: what
/// they call must not let exceptions out.
#pragma once

#include "backends/backend.h"

namespace lm {

/// Version, compiler and a hash of the headers that both sides include; made by CMake.
extern const char* const kBuildStamp;

/// The one symbol a module exports: `extern "C" const lm::ModuleTable* lm_backend_module()`.
inline constexpr const char* kModuleEntry = "lm_backend_module";

struct ModuleTable {
  const char* stamp;  ///< kBuildStamp; stays the first field for ever
  const char* name;   ///< "cuda"
  /// Devices that can be opened; 0 when the driver is missing.
  unsigned (*count_devices)();
  /// One line for the user: "2 devices", "unavailable: no NVIDIA driver".
  const char* (*status)();
  /// Fills `info`; false when the device is gone.
  bool (*describe)(unsigned device, DeviceInfo* info);
  /// A new backend that the caller deletes, or null with `error` filled.
  Backend* (*open)(unsigned device, Error* error);
};

using ModuleEntry = const ModuleTable* (*)();

}  // namespace lm

/// Declares the entry visibly, whatever the module's default visibility is.
#define LM_EXPORT_MODULE \
  extern "C" __attribute__((visibility("default"))) const lm::ModuleTable* lm_backend_module()
