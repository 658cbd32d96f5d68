// lm-vulkan.so: what the program sees of the Vulkan backend.
#include "backends/module.h"

#include <cstdlib>
#include <string_view>

#include "backends/vulkan/vulkan_backend.h"

namespace {

using lm::vulkan::Instance;

unsigned count_devices() {
  return static_cast<unsigned>(Instance::get().devices().size());
}

const char* status() {
  return Instance::get().status().c_str();
}

bool describe(unsigned device, lm::DeviceInfo* info) {
  if (device >= Instance::get().devices().size()) {
    return false;
  }
  *info = Instance::get().info(device);
  return true;
}

lm::Backend* open(unsigned device, lm::Error* error) {
  lm::vulkan::Options options;
  const char* staging = std::getenv("LM_VULKAN_STAGING");
  options.force_staging = staging != nullptr && std::string_view(staging) == "1";
  if (const char* cache = std::getenv("LM_VULKAN_CACHE"); cache != nullptr) {
    options.cache_dir = cache;
  }
  auto backend = lm::vulkan::make_backend(device, options);
  if (!backend) {
    *error = std::move(backend.error());
    return nullptr;
  }
  return backend->release();
}

}  // namespace

LM_EXPORT_MODULE {
  static const lm::ModuleTable table = {lm::kBuildStamp, "vulkan", count_devices,
                                        status,          describe, open};
  return &table;
}
