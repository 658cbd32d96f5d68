#include "backends/host_backend.h"

#include <cerrno>
#include <cstring>
#include <new>

#include <fmt/format.h>
#include <sys/mman.h>

#include "backends/host_memory.h"

namespace lm {
namespace {

constexpr std::size_t kAlign = 64;  // a cache line and the widest vector

/// Below this, heap memory: cheap, and address sanitizer sees its bounds.
constexpr std::uint64_t kMapFrom = std::uint64_t{1} << 20;

class HeapBuffer final : public Buffer {
 public:
  HeapBuffer(void* data, std::uint64_t bytes) : data_(data), bytes_(bytes) {}
  ~HeapBuffer() override { ::operator delete(data_, std::align_val_t{kAlign}); }
  HeapBuffer(const HeapBuffer&) = delete;
  HeapBuffer& operator=(const HeapBuffer&) = delete;

  std::uint64_t size() const override { return bytes_; }
  std::uint64_t address() const override { return reinterpret_cast<std::uint64_t>(data_); }
  std::byte* host() override { return static_cast<std::byte*>(data_); }

 private:
  void* data_;
  std::uint64_t bytes_;
};

class MappedBuffer final : public Buffer {
 public:
  MappedBuffer(void* data, std::uint64_t bytes) : data_(data), bytes_(bytes) {}
  ~MappedBuffer() override { munmap(data_, bytes_); }
  MappedBuffer(const MappedBuffer&) = delete;
  MappedBuffer& operator=(const MappedBuffer&) = delete;

  std::uint64_t size() const override { return bytes_; }
  std::uint64_t address() const override { return reinterpret_cast<std::uint64_t>(data_); }
  std::byte* host() override { return static_cast<std::byte*>(data_); }

 private:
  void* data_;
  std::uint64_t bytes_;
};

/// Read-only bytes of somebody else, a mapped file mostly.
class ViewBuffer final : public Buffer {
 public:
  explicit ViewBuffer(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint64_t size() const override { return bytes_.size(); }
  std::uint64_t address() const override { return reinterpret_cast<std::uint64_t>(bytes_.data()); }
  std::byte* host() override { return const_cast<std::byte*>(bytes_.data()); }

 private:
  std::span<const std::byte> bytes_;
};

std::unexpected<Error> no_memory(std::uint64_t wanted, std::string_view why) {
  return fail(ErrorCode::out_of_memory, "memory of the CPU",
              fmt::format("{} bytes wanted, {}", wanted, why),
              "use a smaller context or model, or free memory", ENOMEM);
}

Result<void> check_range(const Buffer& buffer, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > buffer.size() || bytes > buffer.size() - offset) {
    return fail(
        ErrorCode::invalid_argument, "transfer",
        fmt::format("bytes {} to {} of a buffer of {}", offset, offset + bytes, buffer.size()));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Buffer>> HostBackend::alloc(std::uint64_t bytes) {
  if (bytes < kMapFrom) {
    void* data = ::operator new(bytes, std::align_val_t{kAlign}, std::nothrow);
    if (data == nullptr) {
      return no_memory(bytes, "the heap is full");
    }
    std::memset(data, 0, bytes);
    return std::make_unique<HeapBuffer>(data, bytes);
  }
  // The kernel promises more than it has; asking first turns a later kill into an error.
  const HostMemory memory = host_memory();
  if (memory.total_bytes != 0 && bytes > memory.free_bytes) {
    return no_memory(bytes, fmt::format("{} are free ({})", memory.free_bytes, memory.source));
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return no_memory(bytes, "the system refused");
  }
  madvise(data, bytes, MADV_HUGEPAGE);
  return std::make_unique<MappedBuffer>(data, bytes);
}

Result<std::unique_ptr<Buffer>> HostBackend::import(std::span<const std::byte> bytes) {
  return std::make_unique<ViewBuffer>(bytes);
}

Result<void> HostBackend::upload(Buffer& to, std::uint64_t offset,
                                 std::span<const std::byte> bytes) {
  LM_CHECK(check_range(to, offset, bytes.size()));
  if (!bytes.empty()) {
    std::memcpy(to.host() + offset, bytes.data(), bytes.size());
  }
  return {};
}

Result<void> HostBackend::download(Buffer& from, std::uint64_t offset, std::span<std::byte> bytes) {
  LM_CHECK(check_range(from, offset, bytes.size()));
  if (!bytes.empty()) {
    std::memcpy(bytes.data(), from.host() + offset, bytes.size());
  }
  return {};
}

Result<void> HostBackend::copy(Buffer& from, std::uint64_t from_offset, Buffer& to,
                               std::uint64_t to_offset, std::uint64_t bytes) {
  LM_CHECK(check_range(from, from_offset, bytes));
  LM_CHECK(check_range(to, to_offset, bytes));
  if (bytes != 0) {
    std::memmove(to.host() + to_offset, from.host() + from_offset, bytes);
  }
  return {};
}

Result<KvTiles> locate_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                          std::uint64_t k_rows_bytes, std::uint64_t v_rows_bytes) {
  const std::uint64_t k_bytes = kv.k_tile_bytes() * kv.n_head_kv;
  const std::uint64_t v_bytes = kv.v_tile_bytes() * kv.n_head_kv;
  if (k_rows_bytes != k_bytes || v_rows_bytes != v_bytes) {
    return fail(ErrorCode::shape_mismatch, "KV page",
                fmt::format("K rows have {} bytes (expected {}), V rows {} (expected {})",
                            k_rows_bytes, k_bytes, v_rows_bytes, v_bytes));
  }
  if (page_offset > slab.size()) {
    return fail(ErrorCode::invalid_argument, "KV page",
                fmt::format("starts at {} of a slab of {} bytes", page_offset, slab.size()));
  }
  LM_CHECK(check_range(slab, page_offset + kv.k_offset, k_bytes));
  LM_CHECK(check_range(slab, page_offset + kv.v_offset, v_bytes));
  return KvTiles{slab.host() + page_offset + kv.k_offset, slab.host() + page_offset + kv.v_offset};
}

}  // namespace lm
