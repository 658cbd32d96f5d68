/// The commands that the sweeps stop at every step.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/crash/sandbox.h"

namespace lm::crash {

struct Command {
  std::string name;
  /// Words behind `lm`. A second run of them succeeds as well.
  std::function<std::vector<std::string>(const Sandbox&)> words;
  /// Done once, without faults, on a copy of `base_sandbox()`; may be empty.
  std::function<void(Sandbox&)> prepare = {};
  /// The sandbox's index is brought into step with its copied files before each run; off where what
  /// the command meets is an index out of step.
  bool settle = true;
};

const std::vector<Command>& commands();

/// Three models: base:1 (a local file), other:1 (the same file, other parameters), and
/// hf.co/demo/one-GGUF:Q8_0 (pulled).
const Sandbox& base_sandbox();

/// Bytes of a small GGUF; as part `number` (from 0) of `count` when there is more than one.
std::string small_gguf(std::uint64_t seed, unsigned number = 0, unsigned count = 1);

inline constexpr const char* kPulledModel = "hf.co/demo/one-GGUF:Q8_0";
inline constexpr const char* kSplitModel = "hf.co/demo/split-GGUF:Q8_0";

}  // namespace lm::crash
