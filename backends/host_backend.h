/// What every backend whose device memory is host memory shares: buffers and transfers.
#pragma once

#include "backends/backend.h"

namespace lm {

/// Base of the CPU and the reference backend. Addresses are pointers; imports are views without a
/// copy.
class HostBackend : public Backend {
 public:
  /// Small requests come from the heap, large ones are mapped (huge pages where the system grants
  /// them) and refused when they exceed what the system can still give.
  Result<std::unique_ptr<Buffer>> alloc(std::uint64_t bytes) override;
  Result<std::unique_ptr<Buffer>> import(std::span<const std::byte> bytes) override;
  Result<void> upload(Buffer& to, std::uint64_t offset, std::span<const std::byte> bytes) override;
  Result<void> download(Buffer& from, std::uint64_t offset, std::span<std::byte> bytes) override;
  Result<void> copy(Buffer& from, std::uint64_t from_offset, Buffer& to, std::uint64_t to_offset,
                    std::uint64_t bytes) override;
};

/// K and V tiles of one layer in one page: where they lie, after checking that slab and row spans
/// have their sizes.
struct KvTiles {
  std::byte* k;
  std::byte* v;
};
Result<KvTiles> locate_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                          std::uint64_t k_rows_bytes, std::uint64_t v_rows_bytes);

}  // namespace lm
