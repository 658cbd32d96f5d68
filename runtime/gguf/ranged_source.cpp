// Bytes fetched on demand, kept in one sparse region as large as the file, so that views stay where
// they are and ranges fetched at different times join. The region costs address space, not memory,
// until bytes arrive.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <system_error>
#include <unordered_set>
#include <utility>

#include <fmt/core.h>
#include <sys/mman.h>

#include "runtime/gguf/byte_source.h"
#include "runtime/gguf/guarded.h"

namespace lm {

struct RangedSource::Impl {
  std::string name;
  std::uint64_t size = 0;
  Fetch fetch;
  std::uint64_t step = 1;
  mutable std::mutex mutex;  ///< guards everything below
  std::byte* region = nullptr;
  std::unordered_set<std::uint64_t> present;  ///< steps that have arrived
  std::uint64_t fetched = 0;

  ~Impl() {
    if (region != nullptr) {
      ::munmap(region, size);
    }
  }

  Result<void> reserve() {
    if (region != nullptr || size == 0) {
      return {};
    }
    void* address = size > PTRDIFF_MAX ? MAP_FAILED
                                       : ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
      return fail(ErrorCode::io, name,
                  fmt::format("a file of {} bytes does not fit the address space", size), {},
                  ENOMEM);
    }
    region = static_cast<std::byte*>(address);
    return {};
  }

  /// Fetches steps [first, last) in one request.
  Result<void> fetch_steps(std::uint64_t first, std::uint64_t last) {
    const std::uint64_t begin = first * step;
    const std::uint64_t length =
        (last - 1) * step >= size - std::min(size, step) ? size - begin : (last - first) * step;
    LM_TRY(const std::vector<std::byte> bytes, fetch(begin, length));
    if (bytes.size() != length) {
      return fail(
          ErrorCode::truncated, name,
          fmt::format("asked for {} bytes at offset {}, got {}", length, begin, bytes.size()),
          "try again");
    }
    std::memcpy(region + begin, bytes.data(), length);
    for (std::uint64_t i = first; i < last; ++i) {
      present.insert(i);
    }
    fetched += length;
    return {};
  }
};

RangedSource::RangedSource(std::string name, std::uint64_t size, Fetch fetch,
                           std::uint64_t step_bytes)
    : impl_(std::make_unique<Impl>()) {
  impl_->name = std::move(name);
  impl_->size = size;
  impl_->fetch = std::move(fetch);
  impl_->step = std::max<std::uint64_t>(step_bytes, 1);
}

RangedSource::~RangedSource() = default;

const std::string& RangedSource::name() const {
  return impl_->name;
}

std::uint64_t RangedSource::size() const {
  return impl_->size;
}

Result<std::span<const std::byte>> RangedSource::view(std::uint64_t offset, std::uint64_t length) {
  return gguf::guarded(impl_->name, [&]() -> Result<std::span<const std::byte>> {
    if (offset > impl_->size || length > impl_->size - offset) {
      return fail(ErrorCode::truncated, impl_->name,
                  fmt::format("{} bytes at offset {} end past the end of the file ({} bytes)",
                              length, offset, impl_->size));
    }
    if (length == 0) {
      return std::span<const std::byte>{};
    }
    const std::scoped_lock lock(impl_->mutex);
    LM_CHECK(impl_->reserve());
    const std::uint64_t last = (offset + length - 1) / impl_->step + 1;
    std::uint64_t at = offset / impl_->step;
    while (at < last) {
      if (impl_->present.contains(at)) {
        ++at;
        continue;
      }
      std::uint64_t end = at + 1;
      while (end < last && !impl_->present.contains(end)) {
        ++end;
      }
      LM_CHECK(impl_->fetch_steps(at, end));
      at = end;
    }
    return std::span<const std::byte>(impl_->region + offset, length);
  });
}

std::uint64_t RangedSource::fetched_bytes() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->fetched;
}

}  // namespace lm
