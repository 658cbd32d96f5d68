#include "backends/vulkan/vulkan_backend.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include <fmt/format.h>

#include "backends/check.h"
#include "backends/vulkan/executable.h"

namespace lm::vulkan {
namespace {

// Shared memory of shaders that hold a whole head: 32 KiB are certain.
constexpr std::uint32_t kMaxHeadDim = 1024;

class VulkanBuffer final : public Buffer {
 public:
  VulkanBuffer(Device& device, const Range& range, std::uint64_t bytes)
      : device_(device), range_(range), bytes_(bytes) {}
  ~VulkanBuffer() override { device_.free(range_); }
  VulkanBuffer(const VulkanBuffer&) = delete;
  VulkanBuffer& operator=(const VulkanBuffer&) = delete;

  std::uint64_t size() const override { return bytes_; }
  std::uint64_t address() const override { return range_.address(); }
  std::byte* host() override { return device_.options().force_staging ? nullptr : range_.host(); }
  const Range& range() const { return range_; }

 private:
  Device& device_;
  Range range_;
  std::uint64_t bytes_;
};

struct Supports {
  static bool weight(const TensorRef& t) { return t.empty() || weight_type_known(t.dtype); }
  static bool kv(const KvRef& kv) {
    return kv_type_known(kv.dtype) && kv.head_dim_k <= kMaxHeadDim && kv.head_dim_v <= kMaxHeadDim;
  }

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
  bool operator()(const ops::RopeKvWrite& o) const { return kv(o.kv); }
  bool operator()(const ops::Attention& o) const { return kv(o.kv); }
  bool operator()(const ops::GatedFfn& o) const { return weight(o.w_gate) && weight(o.w_up); }
  bool operator()(const ops::MoeRoute&) const { return true; }
  bool operator()(const ops::MoeFfn& o) const {
    return weight(o.w_gate) && weight(o.w_up) && weight(o.w_down);
  }
  bool operator()(const ops::CausalConv&) const { return true; }
  bool operator()(const ops::DeltaNet& o) const { return o.head_dim <= kMaxHeadDim; }
  bool operator()(const ops::MeanRows&) const { return true; }
  bool operator()(const ops::GatherRows&) const { return true; }
  bool operator()(const ops::Logits& o) const { return weight(o.weight); }
  bool operator()(const ops::Add&) const { return true; }
  bool operator()(const ops::Mul&) const { return true; }
  bool operator()(const ops::Scale&) const { return true; }
  bool operator()(const ops::Copy&) const { return false; }  // between devices: the caller's
};

const Range& range_of(const Buffer& buffer) {
  return static_cast<const VulkanBuffer&>(buffer).range();
}

Result<void> check_range(const Buffer& buffer, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > buffer.size() || bytes > buffer.size() - offset) {
    return fail(
        ErrorCode::invalid_argument, "transfer",
        fmt::format("bytes {} to {} of a buffer of {}", offset, offset + bytes, buffer.size()));
  }
  return {};
}

class VulkanBackend final : public Backend {
 public:
  explicit VulkanBackend(std::unique_ptr<Device> device) : device_(std::move(device)) {}

  Result<void> start() {
    LM_TRY(pipelines_, Pipelines::create(*device_));
    LM_TRY(step_, StepBuffer::create(*device_));
    return {};
  }

  DeviceInfo info() const override {
    DeviceInfo info = Instance::get().info(device_->index());
    if (!device_->physical().has_budget) {
      // Only what this process holds is known.
      info.free_bytes -= std::min(info.free_bytes, device_->allocated_bytes());
    }
    return info;
  }

  std::optional<Roofs> measure_roofs() override;

  bool supports(const Op& op) const override {
    return check_shapes(op) && std::visit(Supports{}, op);
  }

  Result<std::unique_ptr<Buffer>> alloc(std::uint64_t bytes) override {
    LM_TRY(const Range range, device_->alloc(bytes, MemoryKind::device));
    auto buffer = std::make_unique<VulkanBuffer>(*device_, range, bytes);
    LM_CHECK(device_->zero(range));
    return buffer;
  }

  Result<std::unique_ptr<Buffer>> import(std::span<const std::byte> bytes) override {
    LM_TRY(const Range range, device_->alloc(bytes.size(), MemoryKind::device));
    auto buffer = std::make_unique<VulkanBuffer>(*device_, range, bytes.size());
    LM_CHECK(device_->upload(range, 0, bytes));
    return buffer;
  }

  Result<void> upload(Buffer& to, std::uint64_t offset, std::span<const std::byte> bytes) override {
    LM_CHECK(check_range(to, offset, bytes.size()));
    return device_->upload(range_of(to), offset, bytes);
  }
  Result<void> download(Buffer& from, std::uint64_t offset, std::span<std::byte> bytes) override {
    LM_CHECK(check_range(from, offset, bytes.size()));
    return device_->download(range_of(from), offset, bytes);
  }
  Result<void> copy(Buffer& from, std::uint64_t from_offset, Buffer& to, std::uint64_t to_offset,
                    std::uint64_t bytes) override {
    LM_CHECK(check_range(from, from_offset, bytes));
    LM_CHECK(check_range(to, to_offset, bytes));
    return device_->copy(range_of(from), from_offset, range_of(to), to_offset, bytes);
  }

  std::uint64_t scratch_bytes(const Segment& segment, std::uint32_t max_rows,
                              std::uint32_t max_outputs) const override {
    Emitter emitter({}, 0, max_rows, max_outputs);
    for (const Op& op : segment.ops) {
      if (!std::holds_alternative<ops::Copy>(op) && supports(op)) {
        emitter.emit(op);
      }
    }
    return emitter.scratch_bytes;
  }

  Result<std::unique_ptr<Executable>> compile(const CompileRequest& request) override {
    LM_CHECK(check_request(request));
    for (const Op& op : request.segment->ops) {
      if (!supports(op)) {
        return fail(ErrorCode::unsupported, fmt::format("op {}", op_name(op)),
                    "has a type or option that the Vulkan backend does not run");
      }
    }
    const std::uint64_t wanted =
        scratch_bytes(*request.segment, request.max_rows, request.max_outputs);
    const std::uint64_t given = request.scratch != nullptr ? request.scratch->size() : 0;
    if (given < wanted) {
      return fail(ErrorCode::invalid_argument, "scratch",
                  fmt::format("has {} bytes, expected {}", given, wanted));
    }
    return make_executable(request, *device_, *pipelines_, *step_);
  }

  // Tiles are plain rows already.
  Result<void> read_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                       std::span<std::byte> k_rows, std::span<std::byte> v_rows) override {
    LM_CHECK(check_kv(kv, k_rows.size(), v_rows.size()));
    LM_CHECK(download(slab, page_offset + kv.k_offset, k_rows));
    return v_rows.empty() ? Result<void>{} : download(slab, page_offset + kv.v_offset, v_rows);
  }
  Result<void> write_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                        std::span<const std::byte> k_rows,
                        std::span<const std::byte> v_rows) override {
    LM_CHECK(check_kv(kv, k_rows.size(), v_rows.size()));
    LM_CHECK(upload(slab, page_offset + kv.k_offset, k_rows));
    return v_rows.empty() ? Result<void>{} : upload(slab, page_offset + kv.v_offset, v_rows);
  }

 private:
  static Result<void> check_kv(const KvRef& kv, std::uint64_t k_bytes, std::uint64_t v_bytes) {
    if (k_bytes != kv.k_tile_bytes() * kv.n_head_kv ||
        v_bytes != kv.v_tile_bytes() * kv.n_head_kv) {
      return fail(
          ErrorCode::shape_mismatch, "KV page",
          fmt::format("K rows have {} bytes (expected {}), V rows {} (expected {})", k_bytes,
                      kv.k_tile_bytes() * kv.n_head_kv, v_bytes, kv.v_tile_bytes() * kv.n_head_kv));
    }
    return {};
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Pipelines> pipelines_;
  std::unique_ptr<StepBuffer> step_;
};

/// Reads a buffer larger than any cache, again and again for a second at most.
std::optional<Roofs> VulkanBackend::measure_roofs() {
  struct ReadParams {
    std::uint64_t from, out;
    std::uint32_t n;
  };
  using Clock = std::chrono::steady_clock;
  const std::uint64_t bytes = device_->physical().software ? 64u << 20 : 512u << 20;
  auto memory = alloc(bytes);
  auto params = alloc(256);
  const PipelineKey key{"read_all", {256}};
  auto commands = device_->new_commands();
  if (!memory || !params || !commands || !pipelines_->prepare(std::span(&key, 1))) {
    return std::nullopt;
  }
  const ReadParams values{(*memory)->address(), (*params)->address() + 128,
                          static_cast<std::uint32_t>(bytes / 16)};
  const DeviceApi& api = device_->api;
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  const PushConstants push{(*params)->address(), step_->address()};
  double best = 0.0;
  if (upload(**params, 0, std::as_bytes(std::span(&values, 1))) &&
      api.vkBeginCommandBuffer(*commands, &begin) == VK_SUCCESS) {
    api.vkCmdBindPipeline(*commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipelines_->find(key));
    api.vkCmdPushConstants(*commands, pipelines_->layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                           sizeof(push), &push);
    api.vkCmdDispatch(*commands, 4096, 1, 1);
    const auto start = Clock::now();
    if (api.vkEndCommandBuffer(*commands) == VK_SUCCESS) {
      for (int i = 0; i < 20 && Clock::now() - start < std::chrono::milliseconds(800); ++i) {
        const auto run_begin = Clock::now();
        if (device_->run(std::span(&*commands, 1)) != VK_SUCCESS) {
          break;
        }
        const double seconds = std::chrono::duration<double>(Clock::now() - run_begin).count();
        best = std::max(best, static_cast<double>(bytes) / seconds);
      }
    }
  }
  device_->free_commands(*commands);
  if (best == 0.0) {
    return std::nullopt;
  }
  Roofs roofs;
  roofs.read_1 = best;
  roofs.read_8 = best;
  roofs.isa = "Vulkan";
  return roofs;
}

}  // namespace

Result<std::unique_ptr<Backend>> make_backend(std::size_t index, const Options& options,
                                              void (*adjust)(DeviceApi&)) {
  LM_TRY(std::unique_ptr<Device> device, Device::open(index, options));
  if (adjust != nullptr) {
    adjust(device->api);
  }
  auto backend = std::make_unique<VulkanBackend>(std::move(device));
  LM_CHECK(backend->start());
  return backend;
}

}  // namespace lm::vulkan
