/// Runs a fuzz target on its corpus and on mutations of it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lm::fuzz {

struct Target {
  const char* name;
  int (*entry)(const std::uint8_t* data, std::size_t size);
  const char* corpus;      ///< folder of seeds
  const char* dictionary;  ///< file, may be absent
  std::size_t max_bytes;   ///< longest input
};

/// `program [RUNS [SEED]]` mutates; `program FILE...` runs these files once each. Returns the exit
/// status: 0, or 2 for wrong usage. A finding ends the program by a signal, after the input was
/// written to crash-<name> in the working folder. An input may take 2 s of processor time and 256
/// MiB (more under a sanitizer).
int drive(const Target& target, int argc, char** argv);

}  // namespace lm::fuzz
