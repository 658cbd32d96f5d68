// The reference backend as a loadable module with two devices, of which the second does not open.
#include "backends/module.h"
#include "backends/reference/reference_backend.h"

#ifndef LM_TEST_STAMP
#define LM_TEST_STAMP lm::kBuildStamp
#endif
#ifndef LM_TEST_DEVICES
#define LM_TEST_DEVICES 2
#endif

namespace {

unsigned count_devices() {
  return LM_TEST_DEVICES;
}

const char* status() {
  return LM_TEST_DEVICES == 0 ? "unavailable: no driver" : "2 devices";
}

bool describe(unsigned device, lm::DeviceInfo* info) {
  if (device != 0) {
    return false;
  }
  info->id = "cuda:0";
  info->name = "test device";
  info->kind = lm::DeviceKind::cuda;
  return true;
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
  static const lm::ModuleTable table = {LM_TEST_STAMP, "cuda",   count_devices,
                                        status,        describe, open};
  return &table;
}
