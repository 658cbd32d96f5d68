#include "runtime/kv/page_pool.h"

#include <algorithm>

#include <fmt/core.h>

namespace lm {

PagePool::PagePool(std::vector<Backend*> devices, std::vector<KvGroup> groups,
                   std::vector<std::uint32_t> max_pages, std::uint32_t pages_per_slab)
    : devices_(std::move(devices)),
      groups_(std::move(groups)),
      max_pages_(std::move(max_pages)),
      pages_per_slab_(std::max(pages_per_slab, 1u)),
      state_(groups_.size()),
      tables_(devices_.size()) {
  LM_ASSERT(max_pages_.size() == groups_.size(), "one page limit a group");
  for (GroupState& state : state_) {
    state.slabs.resize(devices_.size());
  }
  rebuild_tables();
}

Result<std::uint32_t> PagePool::alloc(std::uint32_t g) {
  GroupState& state = state_[g];
  if (state.free.empty()) {
    LM_CHECK(add_slab(g));
  }
  const std::uint32_t page = state.free.back();
  state.free.pop_back();
  state.references[page] = 1;
  ++state.used;
  return page;
}

void PagePool::retain(std::uint32_t g, std::uint32_t page) {
  ++state_[g].references[page];
}

void PagePool::release(std::uint32_t g, std::uint32_t page) {
  GroupState& state = state_[g];
  LM_ASSERT(state.references[page] > 0, "a page is released twice");
  if (--state.references[page] == 0) {
    state.free.push_back(page);
    --state.used;
  }
}

Result<std::uint32_t> PagePool::duplicate(std::uint32_t g, std::uint32_t page) {
  LM_TRY(const std::uint32_t copy, alloc(g));
  for (std::uint16_t d = 0; d < devices_.size(); ++d) {
    const std::uint64_t bytes = groups_[g].page_bytes[d];
    if (bytes == 0) {
      continue;
    }
    std::uint64_t from_offset = 0;
    std::uint64_t to_offset = 0;
    Buffer* from = slab_of(d, g, page, &from_offset);
    Buffer* to = slab_of(d, g, copy, &to_offset);
    if (auto copied = devices_[d]->copy(*from, from_offset, *to, to_offset, bytes); !copied) {
      release(g, copy);
      return std::unexpected(std::move(copied).error());
    }
  }
  return copy;
}

std::uint32_t PagePool::free_pages(std::uint32_t g) const {
  return max_pages_[g] - state_[g].used;
}

Buffer* PagePool::slab_of(std::uint16_t device, std::uint32_t g, std::uint32_t page,
                          std::uint64_t* page_offset) const {
  *page_offset = std::uint64_t{page % pages_per_slab_} * groups_[g].page_bytes[device];
  return state_[g].slabs[device][page / pages_per_slab_].get();
}

Result<void> PagePool::add_slab(std::uint32_t g) {
  GroupState& state = state_[g];
  const auto have = static_cast<std::uint32_t>(state.references.size());
  if (have >= max_pages_[g]) {
    return fail(ErrorCode::out_of_memory, "KV cache",
                fmt::format("all {} pages of {} tokens are in use", max_pages_[g], kPageTokens),
                "use a larger --ctx, or fewer requests at a time");
  }
  // The last slab ends with the promise, so that the pool never takes more than the plan says.
  const std::uint32_t end = std::min(have + pages_per_slab_, max_pages_[g]);
  std::vector<std::unique_ptr<Buffer>> fresh(devices_.size());
  std::uint64_t bytes = 0;
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    const std::uint64_t slab_bytes = groups_[g].page_bytes[d] * (end - have);
    if (slab_bytes > 0) {
      LM_TRY(fresh[d], devices_[d]->alloc(slab_bytes));
      bytes += slab_bytes;
    }
  }
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    state.slabs[d].push_back(std::move(fresh[d]));
  }
  allocated_bytes_ += bytes;
  state.references.resize(end, 0);
  for (std::uint32_t page = end; page > have; --page) {
    state.free.push_back(page - 1);
  }
  rebuild_tables();
  return {};
}

void PagePool::rebuild_tables() {
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    SlabTable& table = tables_[d];
    table = {};
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      table.begin.push_back(static_cast<std::uint32_t>(table.slab.size()));
      table.pages.push_back(pages_per_slab_);
      for (const auto& slab : state_[g].slabs[d]) {
        table.slab.push_back(slab ? slab->address() : 0);
      }
    }
  }
}

}  // namespace lm
