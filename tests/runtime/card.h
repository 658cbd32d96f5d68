// A card for tests: the CPU's kernels behind memory of its own, which has an end and can fail.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backends/cpu/cpu_backend.h"

namespace lm::card {

/// What a test sets and reads. `free_said` is what info() says, `free_real` what alloc gives.
struct Memory {
  std::uint64_t total = 0;
  std::uint64_t free_said = 0;
  std::uint64_t free_real = 0;
  std::uint64_t used = 0;
  std::uint64_t peak = 0;
  std::uint32_t n_alloc = 0;
  std::optional<std::uint32_t> refuse_at = {};  ///< this allocation fails, counted from 0
  std::uint32_t n_refused = 0;
  std::set<std::string> missing_ops = {};
};

inline std::shared_ptr<Memory> memory(std::uint64_t bytes) {
  auto memory = std::make_shared<Memory>();
  memory->total = memory->free_said = memory->free_real = bytes;
  return memory;
}

class CardBuffer final : public Buffer {
 public:
  CardBuffer(std::unique_ptr<Buffer> inner, std::shared_ptr<Memory> memory)
      : inner_(std::move(inner)), memory_(std::move(memory)) {}
  ~CardBuffer() override { memory_->used -= inner_->size(); }
  std::uint64_t size() const override { return inner_->size(); }
  std::uint64_t address() const override { return inner_->address(); }
  std::byte* host() override { return inner_->host(); }

 private:
  std::unique_ptr<Buffer> inner_;
  std::shared_ptr<Memory> memory_;
};

class Card final : public Backend {
 public:
  Card(std::string id, std::shared_ptr<Memory> memory)
      : id_(std::move(id)),
        memory_(std::move(memory)),
        inner_(make_cpu_backend({.n_threads = 1, .isa_limit = Isa::baseline})) {}

  DeviceInfo info() const override {
    DeviceInfo info;
    info.id = id_;
    info.name = "a card of tests";
    info.kind = DeviceKind::vulkan;
    info.total_bytes = memory_->total;
    info.free_bytes = memory_->free_said > memory_->used ? memory_->free_said - memory_->used : 0;
    return info;
  }
  bool supports(const Op& op) const override {
    return !memory_->missing_ops.contains(std::string(op_name(op))) && inner_->supports(op);
  }
  Result<std::unique_ptr<Buffer>> alloc(std::uint64_t bytes) override {
    if (memory_->refuse_at == memory_->n_alloc++ || memory_->used + bytes > memory_->free_real) {
      ++memory_->n_refused;
      return fail(ErrorCode::out_of_memory, id_, fmt_bytes(bytes));
    }
    LM_TRY(auto buffer, inner_->alloc(bytes));
    memory_->used += buffer->size();
    memory_->peak = std::max(memory_->peak, memory_->used);
    return std::make_unique<CardBuffer>(std::move(buffer), memory_);
  }
  Result<std::unique_ptr<Buffer>> import(std::span<const std::byte> bytes) override {
    LM_TRY(auto buffer, alloc(bytes.size()));
    LM_CHECK(inner_->upload(*buffer, 0, bytes));
    return buffer;
  }
  Result<void> upload(Buffer& to, std::uint64_t at, std::span<const std::byte> bytes) override {
    return inner_->upload(to, at, bytes);
  }
  Result<void> download(Buffer& from, std::uint64_t at, std::span<std::byte> bytes) override {
    return inner_->download(from, at, bytes);
  }
  Result<void> copy(Buffer& from, std::uint64_t from_at, Buffer& to, std::uint64_t to_at,
                    std::uint64_t bytes) override {
    return inner_->copy(from, from_at, to, to_at, bytes);
  }
  std::uint64_t scratch_bytes(const Segment& segment, std::uint32_t max_rows,
                              std::uint32_t max_outputs) const override {
    return inner_->scratch_bytes(segment, max_rows, max_outputs);
  }
  Result<std::unique_ptr<Executable>> compile(const CompileRequest& request) override {
    return inner_->compile(request);
  }
  Result<void> read_kv(Buffer& slab, std::uint64_t page, const KvRef& kv, std::span<std::byte> k,
                       std::span<std::byte> v) override {
    return inner_->read_kv(slab, page, kv, k, v);
  }
  Result<void> write_kv(Buffer& slab, std::uint64_t page, const KvRef& kv,
                        std::span<const std::byte> k, std::span<const std::byte> v) override {
    return inner_->write_kv(slab, page, kv, k, v);
  }

 private:
  static std::string fmt_bytes(std::uint64_t bytes) {
    return "has no " + std::to_string(bytes) + " bytes";
  }

  std::string id_;
  std::shared_ptr<Memory> memory_;
  std::unique_ptr<Backend> inner_;
};

}  // namespace lm::card
