/// What makes an architecture: how its numbers are read and how a token travels through it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backends/error.h"
#include "runtime/model/hparams.h"

namespace lm {

class Forward;

/// One architecture: a file of runtime/arch and a row in registry.cpp.
struct Architecture {
  std::string_view name;  ///< general.architecture
  Result<Hparams> (*read)(const ArchKeys& keys);
  /// The whole forward pass, once. It runs twice: to list the tensors with their shapes before any
  /// weight is read, and to emit the ops of a plan.
  void (*build)(Forward& f);
};

std::span<const Architecture* const> architectures();
const Architecture* find_architecture(std::string_view name);
/// The supported names, for messages, and the one nearest to `name`.
std::string supported_architectures();
std::string_view nearest_architecture(std::string_view name);

}  // namespace lm
