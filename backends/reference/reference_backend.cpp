#include "backends/reference/reference_backend.h"

#include <cstring>
#include <new>

#include <fmt/format.h>

#include "backends/check.h"
#include "backends/host_backend.h"
#include "backends/host_memory.h"
#include "backends/reference/context.h"
#include "backends/reference/dequant.h"

namespace lm {
namespace {

bool kv_type_known(const KvRef& kv) {
  return reference::can_quantize(kv.dtype) && reference::can_dequantize(kv.dtype);
}

struct Supports {
  static bool weight(const TensorRef& t) { return t.empty() || reference::can_dequantize(t.dtype); }

  bool operator()(const ops::Embed& o) const {
    return weight(o.table) && weight(o.positions) && weight(o.add);
  }
  bool operator()(const ops::Norm&) const { return true; }
  bool operator()(const ops::MatMul& o) const { return weight(o.weight); }
  bool operator()(const ops::QkvMatMul& o) const {
    return weight(o.wq) && weight(o.wk) && weight(o.wv);
  }
  bool operator()(const ops::HeadMatMul& o) const { return weight(o.weight); }
  bool operator()(const ops::CopyCols&) const { return true; }
  bool operator()(const ops::RopeKvWrite& o) const { return kv_type_known(o.kv); }
  bool operator()(const ops::Attention& o) const { return kv_type_known(o.kv); }
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

struct Runner {
  const reference::Context& context;

  template <class Device>
  void operator()(const Device& op) const {
    reference::run(op, context);
  }
  void operator()(const ops::Copy&) const { LM_ASSERT(false, "a copy reached a device"); }
};

class ReferenceExecutable final : public Executable {
 public:
  explicit ReferenceExecutable(const CompileRequest& request)
      : ops_(request.segment->ops),
        buffers_(request.buffers.begin(), request.buffers.end()),
        max_rows_(request.max_rows),
        max_outputs_(request.max_outputs) {}

  RunStatus run(const StepInput& step, const StopFlag& stop) override {
    LM_ASSERT(step.n_row <= max_rows_ && step.n_out <= max_outputs_, "a step above its bucket");
    const reference::Context context{buffers_, step};
    for (const Op& op : ops_) {
      if (stop.load(std::memory_order_relaxed)) {
        return RunStatus::cancelled;
      }
      std::visit(Runner{context}, op);
    }
    return RunStatus::done;
  }

 private:
  std::vector<Op> ops_;
  std::vector<Buffer*> buffers_;
  std::uint32_t max_rows_;
  std::uint32_t max_outputs_;
};

class ReferenceBackend final : public HostBackend {
 public:
  DeviceInfo info() const override {
    const HostMemory memory = host_memory();
    return {.id = "reference",
            .name = "scalar reference",
            .kind = DeviceKind::reference,
            .total_bytes = memory.total_bytes,
            .free_bytes = memory.free_bytes,
            .memory_source = memory.source,
            .detail = "double accumulation"};
  }

  bool supports(const Op& op) const override {
    return check_shapes(op) && std::visit(Supports{}, op);
  }

  std::uint64_t scratch_bytes(const Segment&, std::uint32_t, std::uint32_t) const override {
    return 0;
  }

  Result<std::unique_ptr<Executable>> compile(const CompileRequest& request) override {
    LM_CHECK(check_request(request));
    for (const Op& op : request.segment->ops) {
      if (!supports(op)) {
        return fail(ErrorCode::unsupported, fmt::format("op {}", op_name(op)),
                    "has a type or option that the reference backend does not run");
      }
    }
    return std::make_unique<ReferenceExecutable>(request);
  }

  // Tiles are plain rows here already.
  Result<void> read_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                       std::span<std::byte> k_rows, std::span<std::byte> v_rows) override {
    LM_TRY(const KvTiles tiles, locate_kv(slab, page_offset, kv, k_rows.size(), v_rows.size()));
    std::memcpy(k_rows.data(), tiles.k, k_rows.size());
    if (!v_rows.empty()) {  // values may be part of the keys
      std::memcpy(v_rows.data(), tiles.v, v_rows.size());
    }
    return {};
  }
  Result<void> write_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                        std::span<const std::byte> k_rows,
                        std::span<const std::byte> v_rows) override {
    LM_TRY(const KvTiles tiles, locate_kv(slab, page_offset, kv, k_rows.size(), v_rows.size()));
    std::memcpy(tiles.k, k_rows.data(), k_rows.size());
    if (!v_rows.empty()) {
      std::memcpy(tiles.v, v_rows.data(), v_rows.size());
    }
    return {};
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace lm
