#include "backends/discover.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/module.h"
#include "backends/reference/reference_backend.h"

namespace lm {
namespace {

namespace fs = std::filesystem;

/// Modules that lm knows, in the order of "auto". A new one is one row here.
constexpr std::array<std::string_view, 2> kModules = {"cuda", "vulkan"};

const std::vector<fs::path>& dirs_of(const DiscoverOptions& options,
                                     std::vector<fs::path>& fallback) {
  if (!options.module_dirs.empty()) {
    return options.module_dirs;
  }
  fallback = default_module_dirs();
  return fallback;
}

std::unexpected<Error> module_error(std::string_view name, std::string problem,
                                    std::string hint = {}) {
  return fail(ErrorCode::module, fmt::format("backend {}", name), std::move(problem),
              std::move(hint));
}

/// The table of an object file that is a module of this build. An accepted module stays loaded
/// until the process ends: backends, threads and driver state of it may outlive any owner we could
/// name.
Result<const ModuleTable*> load_file(std::string_view name, const fs::path& file) {
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return module_error(name, fmt::format("{} does not load: {}", file.string(),
                                          why != nullptr ? why : "no reason"));
  }
  const auto refuse = [&](std::string problem) {
    dlclose(handle);
    return module_error(name, std::move(problem), "install the module that belongs to this lm");
  };
  const auto entry = reinterpret_cast<ModuleEntry>(dlsym(handle, kModuleEntry));
  const ModuleTable* table = entry != nullptr ? entry() : nullptr;
  if (table == nullptr || table->stamp == nullptr) {
    return refuse(fmt::format("{} is no module of lm: it has no {}", file.string(), kModuleEntry));
  }
  if (std::string_view(table->stamp) != kBuildStamp) {
    return refuse(fmt::format("{} was built for another lm (got {}, expected {})", file.string(),
                              table->stamp, kBuildStamp));
  }
  if (table->name == nullptr || std::string_view(table->name) != name) {
    return refuse(fmt::format("{} calls itself {}", file.string(),
                              table->name != nullptr ? table->name : "nothing"));
  }
  return table;
}

Result<const ModuleTable*> load_module(std::string_view name, const DiscoverOptions& options) {
  std::vector<fs::path> fallback;
  const std::vector<fs::path>& dirs = dirs_of(options, fallback);
  for (const fs::path& dir : dirs) {
    const fs::path file = dir / fmt::format("lm-{}.so", name);
    std::error_code ignored;
    if (fs::exists(file, ignored)) {
      return load_file(name, file);
    }
  }
  std::vector<std::string> looked;
  for (const fs::path& dir : dirs) {
    looked.push_back(dir.string());
  }
  return module_error(name,
                      fmt::format("not part of this build (looked in {})", fmt::join(looked, ", ")),
                      "use --backend cpu");
}

Result<std::unique_ptr<Backend>> open_device(const ModuleTable& module, unsigned device) {
  const unsigned count = module.count_devices();
  if (count == 0) {
    return module_error(module.name, module.status(), "use --backend cpu");
  }
  if (device >= count) {
    return fail(ErrorCode::invalid_argument, fmt::format("device {}:{}", module.name, device),
                fmt::format("does not exist; there are {}, counted from 0", count));
  }
  Error error{ErrorCode::module, fmt::format("backend {}", module.name),
              "did not open and gave no reason"};
  std::unique_ptr<Backend> backend(module.open(device, &error));
  if (backend == nullptr) {
    return std::unexpected(std::move(error));
  }
  return backend;
}

/// "cuda" or "cuda:1" of a known module.
struct ModuleSpec {
  std::string_view name;
  unsigned device = 0;
};

std::optional<ModuleSpec> parse_module_spec(std::string_view spec) {
  for (const std::string_view name : kModules) {
    if (spec == name) {
      return ModuleSpec{name};
    }
    if (spec.starts_with(name) && spec.size() > name.size() + 1 && spec[name.size()] == ':') {
      const std::string_view digits = spec.substr(name.size() + 1);
      ModuleSpec parsed{name};
      const auto [end, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), parsed.device);
      if (error == std::errc() && end == digits.data() + digits.size()) {
        return parsed;
      }
    }
  }
  return std::nullopt;
}

/// Drivers that also compute in software take a tenth of a second to start. They are woken only by
/// name, or where the kernel shows a GPU.
bool is_worth_asking(std::string_view module, const DiscoverOptions& options) {
  if (module != "vulkan" || options.gpu_shown.has_value()) {
    return module != "vulkan" || *options.gpu_shown;
  }
  for (const char* node :
       {"/dev/dri", "/dev/nvidiactl", "/dev/dxg", "/dev/kgsl-3d0", "/dev/mali0"}) {
    std::error_code ignored;
    if (fs::exists(node, ignored)) {
      return true;
    }
  }
  return false;
}

/// Whether a card is listed already: another module of higher rank sees it too.
bool is_known(const Discovery& found, const DeviceInfo& info) {
  return std::any_of(found.devices.begin(), found.devices.end(), [&](const DeviceInfo& other) {
    return (!info.uuid.empty() && info.uuid == other.uuid) ||
           (!info.pci.empty() && info.pci == other.pci);
  });
}

}  // namespace

std::vector<fs::path> default_module_dirs() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) {
    return {};
  }
  return {program.parent_path(), program.parent_path().parent_path() / "lib" / "lm"};
}

Discovery discover(const DiscoverOptions& options) {
  Discovery found;
  found.devices.push_back(cpu_device_info(options.cpu));
  for (const std::string_view name : kModules) {
    const Result<const ModuleTable*> module = load_module(name, options);
    if (!module) {
      found.modules.push_back({std::string(name), false, module.error().problem});
      continue;
    }
    if (!is_worth_asking(name, options)) {
      found.modules.push_back({std::string(name), false,
                               "the system shows no GPU (devices in software: by name only)"});
      continue;
    }
    found.modules.push_back({std::string(name), true, (*module)->status()});
    for (unsigned device = 0; device < (*module)->count_devices(); ++device) {
      DeviceInfo info;
      if ((*module)->describe(device, &info) && !info.software && !is_known(found, info)) {
        found.devices.push_back(std::move(info));
      }
    }
  }
  return found;
}

Result<std::unique_ptr<Backend>> open_backend(std::string_view spec,
                                              const DiscoverOptions& options) {
  if (spec == "cpu") {
    return make_cpu_backend(options.cpu);
  }
  if (spec == "reference") {
    return make_reference_backend();
  }
  if (spec == "auto") {
    for (const std::string_view name : kModules) {
      const Result<const ModuleTable*> module = load_module(name, options);
      DeviceInfo first;
      if (module && is_worth_asking(name, options) && (*module)->count_devices() > 0 &&
          (*module)->describe(0, &first) && !first.software) {
        if (Result<std::unique_ptr<Backend>> backend = open_device(**module, 0)) {
          return backend;
        }
      }
    }
    return make_cpu_backend(options.cpu);
  }
  const std::optional<ModuleSpec> parsed = parse_module_spec(spec);
  if (!parsed) {
    return fail(ErrorCode::invalid_argument, fmt::format("backend '{}'", spec),
                "is no name of a backend",
                fmt::format("use auto, cpu, reference, or one of {} with an optional :number",
                            fmt::join(kModules, ", ")));
  }
  LM_TRY(const ModuleTable* const module, load_module(parsed->name, options));
  return open_device(*module, parsed->device);
}

}  // namespace lm
