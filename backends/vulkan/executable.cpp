#include "backends/vulkan/executable.h"

#include <algorithm>

#include "backends/op_work.h"

namespace lm::vulkan {
namespace {

/// What ops since the last barrier read and wrote.
class Hazards {
 public:
  /// Whether `op` must wait for them. Then they are forgotten.
  bool conflicts(const AccessSet& op, bool uses_scratch) const {
    for (std::uint32_t i = 0; i < op.n_reads; ++i) {
      if (overlaps(writes_, op.reads[i])) {
        return true;
      }
    }
    for (std::uint32_t i = 0; i < op.n_writes; ++i) {
      if (overlaps(writes_, op.writes[i]) || overlaps(reads_, op.writes[i])) {
        return true;
      }
    }
    return (op.reads_kv && wrote_kv_) || (op.writes_kv && (wrote_kv_ || read_kv_)) ||
           (op.uses_state && used_state_) || (uses_scratch && used_scratch_);
  }
  void clear() { *this = {}; }
  void add(const AccessSet& op, bool uses_scratch) {
    reads_.insert(reads_.end(), op.reads, op.reads + op.n_reads);
    writes_.insert(writes_.end(), op.writes, op.writes + op.n_writes);
    read_kv_ = read_kv_ || op.reads_kv;
    wrote_kv_ = wrote_kv_ || op.writes_kv;
    used_state_ = used_state_ || op.uses_state;
    used_scratch_ = used_scratch_ || uses_scratch;
  }

 private:
  static bool overlaps(const std::vector<TensorRef>& list, const TensorRef& t) {
    return std::any_of(list.begin(), list.end(), [&](const TensorRef& other) {
      return other.buffer == t.buffer && other.offset < t.offset + t.bytes() &&
             t.offset < other.offset + other.bytes();
    });
  }

  std::vector<TensorRef> reads_, writes_;
  bool read_kv_ = false, wrote_kv_ = false, used_state_ = false, used_scratch_ = false;
};

class VulkanExecutable final : public Executable {
 public:
  VulkanExecutable(Device& device, StepBuffer& step, const CompileRequest& request)
      : device_(device),
        step_(step),
        ops_(request.segment->ops),
        max_rows_(request.max_rows),
        max_outputs_(request.max_outputs) {
    for (const Op& op : ops_) {
      needs_.add(op);
    }
    if (request.profile) {
      for (const Op& op : ops_) {
        times_.push_back({op_name(op), 0.0, 0});
      }
    }
  }

  ~VulkanExecutable() override {
    if (commands_ != VK_NULL_HANDLE) {
      device_.free_commands(commands_);
    }
    if (queries_ != VK_NULL_HANDLE) {
      device_.api.vkDestroyQueryPool(device_.handle(), queries_, nullptr);
    }
    device_.free(params_);
  }
  VulkanExecutable(const VulkanExecutable&) = delete;
  VulkanExecutable& operator=(const VulkanExecutable&) = delete;

  Result<void> record(const Emitter& emitted, const Pipelines& pipelines) {
    if (!emitted.params.empty()) {
      LM_TRY(params_, device_.alloc(emitted.params.size(), MemoryKind::device));
      LM_CHECK(device_.upload(params_, 0, emitted.params));
    }
    LM_TRY(commands_, device_.new_commands());
    if (!times_.empty() && device_.physical().timestamp_bits != 0) {
      LM_CHECK(make_queries());
    }
    const DeviceApi& api = device_.api;
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    if (const VkResult r = api.vkBeginCommandBuffer(commands_, &begin); r != VK_SUCCESS) {
      return device_.failed(r, "vkBeginCommandBuffer");
    }
    if (queries_ != VK_NULL_HANDLE) {
      api.vkCmdResetQueryPool(commands_, queries_, 0, static_cast<std::uint32_t>(ops_.size()) + 1);
    }
    // What transfers and earlier segments wrote.
    barrier(VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
    timestamp(0);
    Hazards hazards;
    VkPipeline bound = VK_NULL_HANDLE;
    std::size_t at = 0;
    for (std::uint32_t op = 0; op < ops_.size(); ++op) {
      const AccessSet set = access(ops_[op]);
      if (hazards.conflicts(set, emitted.uses_scratch[op]) || queries_ != VK_NULL_HANDLE) {
        barrier(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT);
        hazards.clear();
      }
      hazards.add(set, emitted.uses_scratch[op]);
      for (; at < emitted.dispatches.size() && emitted.dispatches[at].op == op; ++at) {
        const Dispatch& d = emitted.dispatches[at];
        if (d.after) {
          barrier(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT);
        }
        const VkPipeline pipeline = pipelines.find(d.key);
        if (pipeline != bound) {
          api.vkCmdBindPipeline(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
          bound = pipeline;
        }
        const PushConstants push{params_.address() + d.params_at, step_.address()};
        api.vkCmdPushConstants(commands_, pipelines.layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               sizeof(push), &push);
        api.vkCmdDispatch(commands_, d.groups[0], d.groups[1], d.groups[2]);
      }
      timestamp(op + 1);
    }
    // For transfers, and for a host that sees the memory.
    VkMemoryBarrier done{};
    done.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    done.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
    done.dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT;
    api.vkCmdPipelineBarrier(commands_, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                             VK_PIPELINE_STAGE_HOST_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1,
                             &done, 0, nullptr, 0, nullptr);
    if (const VkResult r = api.vkEndCommandBuffer(commands_); r != VK_SUCCESS) {
      return device_.failed(r, "vkEndCommandBuffer");
    }
    return {};
  }

  RunStatus run(const StepInput& step, const StopFlag& stop) override {
    LM_ASSERT(step.n_row <= max_rows_ && step.n_out <= max_outputs_, "a step above its bucket");
    if (stop.load(std::memory_order_relaxed)) {
      return RunStatus::cancelled;
    }
    if (device_.lost() || !step_.write(step, needs_)) {
      return RunStatus::lost;
    }
    if (device_.run(std::span(&commands_, 1)) != VK_SUCCESS) {
      return RunStatus::lost;
    }
    if (!times_.empty()) {
      read_times(step);
    }
    return RunStatus::done;
  }

  std::vector<OpTime> times() const override { return times_; }

 private:
  void barrier(VkPipelineStageFlags from) {
    VkMemoryBarrier b{};
    b.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    b.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
    b.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
    if (from == VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT) {
      b.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
    }
    device_.api.vkCmdPipelineBarrier(commands_, from, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1,
                                     &b, 0, nullptr, 0, nullptr);
  }

  void timestamp(std::uint32_t number) {
    if (queries_ != VK_NULL_HANDLE) {
      device_.api.vkCmdWriteTimestamp(commands_, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, queries_,
                                      number);
    }
  }

  Result<void> make_queries() {
    VkQueryPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    info.queryType = VK_QUERY_TYPE_TIMESTAMP;
    info.queryCount = static_cast<std::uint32_t>(ops_.size()) + 1;
    if (const VkResult r =
            device_.api.vkCreateQueryPool(device_.handle(), &info, nullptr, &queries_);
        r != VK_SUCCESS) {
      return device_.failed(r, "vkCreateQueryPool");
    }
    stamps_.resize(ops_.size() + 1);
    return {};
  }

  void read_times(const StepInput& step) {
    if (queries_ == VK_NULL_HANDLE ||
        device_.api.vkGetQueryPoolResults(
            device_.handle(), queries_, 0, static_cast<std::uint32_t>(stamps_.size()),
            stamps_.size() * sizeof(std::uint64_t), stamps_.data(), sizeof(std::uint64_t),
            VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT) != VK_SUCCESS) {
      return;
    }
    const double period_us =
        static_cast<double>(device_.physical().limits.timestampPeriod) / 1000.0;
    for (std::size_t i = 0; i < times_.size(); ++i) {
      times_[i].microseconds = static_cast<double>(stamps_[i + 1] - stamps_[i]) * period_us;
      times_[i].bytes = static_cast<std::uint64_t>(op_work(ops_[i], step).bytes());
    }
  }

  Device& device_;
  StepBuffer& step_;
  std::vector<Op> ops_;
  std::uint32_t max_rows_, max_outputs_;
  StepNeeds needs_;
  Range params_;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
  VkQueryPool queries_ = VK_NULL_HANDLE;
  std::vector<std::uint64_t> stamps_;
  std::vector<OpTime> times_;
};

}  // namespace

Result<std::unique_ptr<Executable>> make_executable(const CompileRequest& request, Device& device,
                                                    Pipelines& pipelines, StepBuffer& step) {
  const std::uint64_t scratch = request.scratch != nullptr ? request.scratch->address() : 0;
  Emitter emitter(request.buffers, scratch, request.max_rows, request.max_outputs);
  std::vector<PipelineKey> keys;
  for (const Op& op : request.segment->ops) {
    emitter.emit(op);
  }
  for (const Dispatch& dispatch : emitter.dispatches) {
    keys.push_back(dispatch.key);
  }
  LM_CHECK(pipelines.prepare(keys));
  auto executable = std::make_unique<VulkanExecutable>(device, step, request);
  LM_CHECK(executable->record(emitter, pipelines));
  return executable;
}

}  // namespace lm::vulkan
