#include "runtime/kv/state_pool.h"

#include <fmt/core.h>

namespace lm {

Result<std::unique_ptr<StatePool>> StatePool::create(std::vector<Backend*> devices,
                                                     std::vector<std::uint64_t> slot_bytes,
                                                     std::uint32_t n_slot) {
  std::unique_ptr<StatePool> pool(new StatePool(std::move(devices), std::move(slot_bytes)));
  pool->memory_.resize(pool->devices_.size());
  for (std::size_t d = 0; d < pool->devices_.size(); ++d) {
    if (pool->slot_bytes_[d] > 0) {
      LM_TRY(pool->memory_[d], pool->devices_[d]->alloc(pool->slot_bytes_[d] * n_slot));
    }
  }
  pool->references_.assign(n_slot, 0);
  for (std::uint32_t slot = n_slot; slot > 0; --slot) {
    pool->free_.push_back(slot - 1);
  }
  return pool;
}

Result<std::uint32_t> StatePool::take() {
  if (free_.empty()) {
    return fail(ErrorCode::out_of_memory, "recurrent state",
                fmt::format("all {} slots are in use", references_.size()),
                "run fewer requests at a time");
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  references_[slot] = 1;
  return slot;
}

Result<std::uint32_t> StatePool::alloc() {
  LM_TRY(const std::uint32_t slot, take());
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    const std::vector<std::byte> zero(slot_bytes_[d]);
    if (zero.empty()) {
      continue;
    }
    if (auto cleared = devices_[d]->upload(*memory_[d], slot * slot_bytes_[d], zero); !cleared) {
      release(slot);
      return std::unexpected(std::move(cleared).error());
    }
  }
  return slot;
}

void StatePool::release(std::uint32_t slot) {
  LM_ASSERT(references_[slot] > 0, "a state slot is released twice");
  if (--references_[slot] == 0) {
    free_.push_back(slot);
  }
}

Result<std::uint32_t> StatePool::duplicate(std::uint32_t slot) {
  LM_TRY(const std::uint32_t copy, take());
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    const std::uint64_t bytes = slot_bytes_[d];
    if (bytes == 0) {
      continue;
    }
    auto copied = devices_[d]->copy(*memory_[d], slot * bytes, *memory_[d], copy * bytes, bytes);
    if (!copied) {
      release(copy);
      return std::unexpected(std::move(copied).error());
    }
  }
  return copy;
}

}  // namespace lm
