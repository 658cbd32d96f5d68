/// How fast a plan will be, from rates that were measured on its devices.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "backends/dtype.h"
#include "runtime/plan/planner.h"

namespace lm {

/// What one type of weights costs on a device.
struct TypeRate {
  double decode_gb_s = 0;     ///< weights read by one row, GB a second
  double prompt_gflop_s = 0;  ///< 2 x weights x rows a second, many rows
};

/// Rates of one device. Zeros: not known.
struct DeviceSpeed {
  std::map<DType, TypeRate> types;
  double kv_gb_s = 0;      ///< KV read while decoding
  double f32_gflop_s = 0;  ///< attention of many rows
  double op_us = 0;        ///< what every operation costs, whatever its size
  double disk_gb_s = 0;    ///< of the host: weights that are not in memory
};

struct SpeedEstimate {
  double prompt_tok_s = 0;  ///< of a prompt of 512 tokens
  double decode_tok_s = 0;  ///< with `n_past` tokens before
};

/// Zeros where a device that carries weights has no rates. A type without a rate counts as the
/// nearest measured one by bits a weight.
SpeedEstimate estimate_speed(const ModelShape& shape, const LoadPlan& plan,
                             std::span<const DeviceSpeed> devices, std::uint32_t n_past = 0);

/// Bytes of weights that decoding one token reads, over all devices.
double decode_bytes(const ModelShape& shape);

/// One line of text and back, for caches.
std::string to_text(const DeviceSpeed& speed);
Result<DeviceSpeed> speed_from_text(std::string_view text);

}  // namespace lm
