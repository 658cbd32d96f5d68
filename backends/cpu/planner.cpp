#include <algorithm>

#include "backends/cpu/attention_plan.h"
#include "backends/cpu/step.h"

namespace lm::cpu {
namespace {

/// Work memory begins at cache lines.
constexpr std::uint64_t align(std::uint64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

bool overlap(const TensorRef& a, const TensorRef& b) {
  return a.buffer == b.buffer && a.offset < b.offset + b.bytes() && b.offset < a.offset + a.bytes();
}

}  // namespace

Planner::Planner(Isa isa, std::uint32_t n_threads, std::span<Buffer* const> buffers,
                 std::uint32_t max_rows, std::uint32_t max_outputs)
    : isa_(isa),
      n_threads_(n_threads),
      buffers_(buffers),
      max_rows_(max_rows),
      max_outputs_(max_outputs),
      region_bytes_(n_shared) {}

Planner::~Planner() = default;

void Planner::emit(const Op& op) {
  std::visit([this](const auto& device_op) { cpu::emit(device_op, *this); }, op);
  step_op.resize(steps.size(), n_ops_);
  ++n_ops_;
  forget_overwritten(op);
}

void Planner::forget_overwritten(const Op& op) {
  const AccessSet set = access(op);
  for (std::uint32_t i = 0; i < set.n_writes; ++i) {
    std::erase_if(conversions_, [&](const Conversion& c) { return overlap(c.x, set.writes[i]); });
    std::erase_if(rope_tables_,
                  [&](const RopeTable& t) { return overlap(t.inv_freq, set.writes[i]); });
  }
}

std::byte* Planner::bytes(const TensorRef& t) const {
  return t.empty() || buffers_.empty() ? nullptr : buffers_[t.buffer]->host() + t.offset;
}

void Planner::push(std::unique_ptr<Step> step) {
  steps.push_back(std::move(step));
}

std::size_t Planner::new_region(std::uint64_t bytes) {
  region_bytes_.push_back(bytes);
  return region_bytes_.size() - 1;
}

std::size_t Planner::shared_region(SharedRegion kind, std::uint64_t bytes) {
  region_bytes_[kind] = std::max(region_bytes_[kind], bytes);
  return kind;
}

void Planner::need_thread_scratch(std::uint64_t bytes) {
  thread_bytes_ = std::max(thread_bytes_, bytes);
}

Planner::Layout Planner::layout() const {
  Layout layout;
  for (const std::uint64_t bytes : region_bytes_) {
    layout.region_offset.push_back(layout.total_bytes);
    layout.total_bytes += align(bytes);
  }
  layout.thread_offset = layout.total_bytes;
  layout.thread_bytes = align(thread_bytes_);
  layout.total_bytes += layout.thread_bytes * n_threads_;
  return layout;
}

}  // namespace lm::cpu
