/// A model's metadata, seen from its architecture.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/error.h"
#include "runtime/gguf/metadata.h"

namespace lm {

/// Metadata with "<arch>." put in front of every key. Errors of all: bad_value naming key and
/// limits, missing.
class ArchKeys {
 public:
  ArchKeys(const Metadata& metadata, std::string arch)
      : metadata_(metadata), prefix_(std::move(arch) + ".") {}
  Result<std::int64_t> get_int(std::string_view key, std::int64_t min, std::int64_t max) const;
  Result<std::int64_t> int_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                              std::int64_t max) const;
  /// As int_or, for the unsigned fields of Hparams.
  Result<std::uint32_t> u32_or(std::string_view key, std::uint32_t fallback, std::uint32_t min,
                               std::uint32_t max) const;
  Result<std::uint32_t> get_u32(std::string_view key, std::uint32_t min, std::uint32_t max) const;
  Result<float> get_positive_float(std::string_view key) const;
  Result<float> float_or(std::string_view key, float fallback) const;
  /// As float_or; 0 in the file means `fallback` too.
  Result<float> nonzero_float_or(std::string_view key, float fallback) const;
  Result<bool> bool_or(std::string_view key, bool fallback) const;
  /// A scalar for all layers or an array of at least n_layer values.
  Result<std::vector<std::uint32_t>> per_layer_or(std::string_view key, std::uint32_t n_layer,
                                                  std::uint32_t fallback, std::uint32_t min,
                                                  std::uint32_t max) const;
  bool has(std::string_view key) const { return metadata_.has(name(key)); }
  std::string name(std::string_view key) const { return prefix_ + std::string(key); }
  const Metadata& metadata() const { return metadata_; }

 private:
  const Metadata& metadata_;
  std::string prefix_;
};

}  // namespace lm
