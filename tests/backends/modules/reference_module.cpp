// The reference backend as a loadable module with two devices, of which the second does not open.
#include <string>

#include "backends/module.h"
#include "backends/reference/reference_backend.h"

#ifndef LM_TEST_STAMP
#define LM_TEST_STAMP lm::kBuildStamp
#endif
#ifndef LM_TEST_NAME
#define LM_TEST_NAME "cuda"
#endif
#ifndef LM_TEST_DEVICES
#define LM_TEST_DEVICES 2
#endif

namespace {

unsigned count_devices() {
  return LM_TEST_DEVICES;
}

const char* status() {
  return LM_TEST_DEVICES == 0   ? "unavailable: no driver"
         : LM_TEST_DEVICES == 2 ? "2 devices"
                                : "3 devices";
}

bool describe(unsigned device, lm::DeviceInfo* info) {
#ifdef LM_TEST_SOFTWARE  // the second module sees the first one's card, another, and computes
                         // itself
  info->id = std::string(LM_TEST_NAME) + ":" + std::to_string(device);
  info->name = device == 0 ? "the same card" : device == 1 ? "another card" : "in software";
  info->kind = lm::DeviceKind::vulkan;
  info->uuid = device == 0 ? "00112233" : device == 1 ? "44556677" : "";
  info->software = device == 2;
  return true;
#else
  if (device != 0) {
    return false;
  }
  info->id = "cuda:0";
  info->name = "test device";
  info->kind = lm::DeviceKind::cuda;
  info->uuid = "00112233";
  return true;
#endif
}

lm::Backend* open(unsigned device, lm::Error* error) {
  if (device != 0) {
    *error = {lm::ErrorCode::device_lost, "device cuda:1", "fell off the bus", "", 79};
    return nullptr;
  }
  return lm::make_reference_backend().release();
}

}  // namespace

LM_EXPORT_MODULE {
  static const lm::ModuleTable table = {LM_TEST_STAMP, LM_TEST_NAME, count_devices,
                                        status,        describe,     open};
  return &table;
}
