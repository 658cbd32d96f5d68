/// What a machine can do at best: the limits that measured speeds are compared with.
#pragma once

#include <cstdint>
#include <string>

namespace lm {

/// Roofs of one device, measured. 0: unknown.
struct Roofs {
  double read_1 = 0.0;     ///< bytes a second from memory, one stream of addresses a thread
  double read_8 = 0.0;     ///< the same with eight far-apart streams a thread
  double int8_ops = 0.0;   ///< operations a second of int8 dot products, from registers
  double f32_flops = 0.0;  ///< operations a second of f32 multiply-add, from registers
  std::uint32_t n_thread = 0;
  std::string isa;  ///< the instruction set that was measured
};

}  // namespace lm
