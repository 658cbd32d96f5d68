/// SHA-256 of bytes as they come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "store/digest.h"
#include "store/progress.h"

struct evp_md_ctx_st;

namespace lm::store {

/// Incremental hasher (OpenSSL, which uses SHA-NI or ARMv8 instructions where there are any).
/// Move-only. Throws std::bad_alloc when its state can't be had.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&& other) noexcept;
  Sha256& operator=(Sha256&& other) noexcept;
  ~Sha256();

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  /// Digest of everything so far; the hasher starts again at nothing.
  Digest finish();

 private:
  evp_md_ctx_st* context_;
};

/// Digest of `text`.
Digest sha256(std::string_view text);

/// Digest of the file's bytes [0, size_bytes), read with pread. `progress(done, total)` may return
/// false to stop. Errors: io, size_mismatch when the file ends early, interrupted.
Result<Digest> sha256_of_file(int fd, std::uint64_t size_bytes, std::string_view subject,
                              const Progress& progress = {});

}  // namespace lm::store
