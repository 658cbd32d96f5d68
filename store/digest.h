/// SHA-256 digests as names of blobs.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/error.h"

namespace lm::store {

/// A SHA-256 digest. Text from outside becomes one only through `parse`, so no path is ever built
/// from anything else.
struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  /// Accepts "sha256:<64 lower-case hex>", "sha256-<64 hex>" and nothing else (invalid_name).
  static Result<Digest> parse(std::string_view text);
  /// Accepts 64 lower-case hex digits (the hub's lfs.oid).
  static Result<Digest> parse_hex(std::string_view hex);

  std::string hex() const;                                     ///< 64 digits
  std::string text() const { return "sha256:" + hex(); }       ///< as in manifests
  std::string blob_name() const { return "sha256-" + hex(); }  ///< as on disk
  friend bool operator==(const Digest&, const Digest&) = default;
  friend auto operator<=>(const Digest&, const Digest&) = default;
};

}  // namespace lm::store
