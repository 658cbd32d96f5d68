#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "backends/check.h"
#include "backends/cpu/executor.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/cpu/kv_layout.h"
#include "backends/cpu/roofs.h"
#include "backends/cpu/thread_pool.h"
#include "backends/host_backend.h"
#include "backends/host_memory.h"
#include "backends/reference/dequant.h"

namespace lm {
namespace {

struct Supports {
  Isa isa;

  bool weight(const TensorRef& t) const {
    return t.empty() || cpu::find_matmul(t.dtype, isa, t.cols) != nullptr;
  }

  static bool table(const TensorRef& t) { return t.empty() || reference::can_dequantize(t.dtype); }

  bool operator()(const ops::Embed& o) const {
    return table(o.table) && table(o.positions) && table(o.add);
  }
  bool operator()(const ops::Norm&) const { return true; }
  bool operator()(const ops::MatMul& o) const { return weight(o.weight); }
  bool operator()(const ops::QkvMatMul& o) const {
    return weight(o.wq) && weight(o.wk) && weight(o.wv);
  }
  bool operator()(const ops::HeadMatMul& o) const { return weight(o.weight); }
  bool operator()(const ops::CopyCols&) const { return true; }
  bool operator()(const ops::RopeKvWrite& o) const { return cpu::kv_type_known(o.kv.dtype); }
  bool operator()(const ops::Attention& o) const { return cpu::kv_type_known(o.kv.dtype); }
  bool operator()(const ops::GatedFfn& o) const { return weight(o.w_gate) && weight(o.w_up); }
  bool operator()(const ops::MoeRoute&) const { return true; }
  bool operator()(const ops::MoeFfn& o) const {
    return weight(o.w_gate) && weight(o.w_up) && weight(o.w_down);
  }
  bool operator()(const ops::CausalConv&) const { return true; }
  bool operator()(const ops::DeltaNet&) const { return true; }
  bool operator()(const ops::MeanRows&) const { return true; }
  bool operator()(const ops::GatherRows&) const { return true; }
  bool operator()(const ops::Logits& o) const { return weight(o.weight); }
  bool operator()(const ops::Add&) const { return true; }
  bool operator()(const ops::Mul&) const { return true; }
  bool operator()(const ops::Scale&) const { return true; }
  bool operator()(const ops::Copy&) const { return false; }  // between devices: the caller's
};

DeviceInfo describe(Isa isa, unsigned n_threads, std::optional<std::uint64_t> memory_limit) {
  HostMemory memory = host_memory();
  if (memory_limit && *memory_limit < memory.free_bytes) {
    memory.free_bytes = *memory_limit;
    memory.total_bytes = std::min(memory.total_bytes, *memory_limit);
    memory.source = "limit of the settings";
  }
  return {.id = "cpu",
          .name = cpu_name(),
          .kind = DeviceKind::cpu,
          .total_bytes = memory.total_bytes,
          .free_bytes = memory.free_bytes,
          .memory_source = memory.source,
          .detail = fmt::format("{}, {} threads", isa_name(isa), n_threads)};
}

Isa usable_isa(const CpuOptions& options) {
  return std::min(detect_isa(), options.isa_limit.value_or(detect_isa()));
}

unsigned wanted_threads(const CpuOptions& options) {
  return options.n_threads != 0 ? options.n_threads : default_thread_count();
}

class CpuBackend final : public HostBackend {
 public:
  CpuBackend(unsigned n_threads, Isa isa, std::optional<std::uint64_t> memory_limit)
      : isa_(isa), memory_limit_(memory_limit), pool_(n_threads) {}

  DeviceInfo info() const override { return describe(isa_, pool_.size(), memory_limit_); }

  std::optional<Roofs> measure_roofs() override { return cpu::measure_roofs(isa_, pool_); }

  bool supports(const Op& op) const override {
    return check_shapes(op) && std::visit(Supports{isa_}, op);
  }

  std::uint64_t scratch_bytes(const Segment& segment, std::uint32_t max_rows,
                              std::uint32_t max_outputs) const override {
    return std::all_of(segment.ops.begin(), segment.ops.end(),
                       [this](const Op& op) { return supports(op); })
               ? cpu::segment_scratch_bytes(segment, max_rows, max_outputs, isa_, pool_.size())
               : 0;
  }

  Result<std::unique_ptr<Executable>> compile(const CompileRequest& request) override {
    LM_CHECK(check_request(request));
    for (const Op& op : request.segment->ops) {
      if (!supports(op)) {
        return fail(ErrorCode::unsupported, fmt::format("op {}", op_name(op)),
                    "has a type or option that the CPU backend does not run");
      }
    }
    const std::uint64_t wanted =
        scratch_bytes(*request.segment, request.max_rows, request.max_outputs);
    const std::uint64_t given = request.scratch != nullptr ? request.scratch->size() : 0;
    if (given < wanted) {
      return fail(ErrorCode::invalid_argument, "scratch",
                  fmt::format("has {} bytes, expected {}", given, wanted));
    }
    return cpu::make_executable(request, isa_, pool_);
  }

  Result<void> read_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                       std::span<std::byte> k_rows, std::span<std::byte> v_rows) override {
    LM_TRY(const KvTiles tiles, locate(slab, page_offset, kv, k_rows.size(), v_rows.size()));
    const std::uint64_t row = row_bytes(kv.dtype, kv.head_dim_k);
    for (std::uint32_t i = 0; i < kv.n_head_kv * kPageTokens; ++i) {
      cpu::get_key(kv.dtype, tiles.k + kv.k_tile_bytes() * (i / kPageTokens), kv.head_dim_k,
                   i % kPageTokens, k_rows.data() + row * i);
    }
    if (!v_rows.empty()) {  // values may be part of the keys
      std::memcpy(v_rows.data(), tiles.v, v_rows.size());
    }
    return {};
  }

  Result<void> write_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                        std::span<const std::byte> k_rows,
                        std::span<const std::byte> v_rows) override {
    LM_TRY(const KvTiles tiles, locate(slab, page_offset, kv, k_rows.size(), v_rows.size()));
    const std::uint64_t row = row_bytes(kv.dtype, kv.head_dim_k);
    for (std::uint32_t i = 0; i < kv.n_head_kv * kPageTokens; ++i) {
      cpu::put_key(kv.dtype, k_rows.data() + row * i, kv.head_dim_k, i % kPageTokens,
                   tiles.k + kv.k_tile_bytes() * (i / kPageTokens));
    }
    if (!v_rows.empty()) {
      std::memcpy(tiles.v, v_rows.data(), v_rows.size());
    }
    return {};
  }

 private:
  static Result<KvTiles> locate(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                                std::uint64_t k_bytes, std::uint64_t v_bytes) {
    if (!cpu::kv_type_known(kv.dtype)) {
      return fail(ErrorCode::unsupported_type, "KV page",
                  fmt::format("type {} is not stored by the CPU", layout(kv.dtype).name));
    }
    return locate_kv(slab, page_offset, kv, k_bytes, v_bytes);
  }

  Isa isa_;
  std::optional<std::uint64_t> memory_limit_;
  cpu::ThreadPool pool_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(wanted_threads(options), usable_isa(options),
                                      options.memory_limit);
}

DeviceInfo cpu_device_info(const CpuOptions& options) {
  return describe(usable_isa(options), wanted_threads(options), options.memory_limit);
}

}  // namespace lm
