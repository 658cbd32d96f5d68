/// KV pages of all sequences, on every device that holds layers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/backend.h"

namespace lm {

/// Layers that share a visibility (full, or a window of the same size) share page tables.
struct KvGroup {
  std::uint32_t window = 0;  ///< 0: full
  std::vector<std::uint64_t>
      page_bytes;  ///< [device] bytes of one page there; 0: no layer of the group there
};

/// Pool of reference-counted pages. A page id means the same page index on every device: the layers
/// of a group may be spread over devices. Memory comes in slabs, so the pool grows without moving a
/// page or rebuilding a plan. Not thread-safe.
class PagePool {
 public:
  /// `devices` outlive the pool. `max_pages` [group] bounds growth: it is what the plan has
  /// promised.
  PagePool(std::vector<Backend*> devices, std::vector<KvGroup> groups,
           std::vector<std::uint32_t> max_pages, std::uint32_t pages_per_slab);

  std::uint32_t n_group() const { return static_cast<std::uint32_t>(groups_.size()); }
  const KvGroup& group(std::uint32_t g) const { return groups_[g]; }

  /// A page with one reference; its content is undefined. Errors: out_of_memory (the pool's promise
  /// is used up, or a device has no memory left).
  Result<std::uint32_t> alloc(std::uint32_t g);
  void retain(std::uint32_t g, std::uint32_t page);
  void release(std::uint32_t g, std::uint32_t page);
  bool shared(std::uint32_t g, std::uint32_t page) const { return state_[g].references[page] > 1; }
  /// A new page with the content of `page` on every device.
  Result<std::uint32_t> duplicate(std::uint32_t g, std::uint32_t page);

  std::uint32_t free_pages(
      std::uint32_t g) const;  ///< that alloc could still give, slabs not yet made included
  std::uint32_t used_pages(std::uint32_t g) const { return state_[g].used; }
  std::uint64_t allocated_bytes() const { return allocated_bytes_; }

  /// The slab table of one device, as StepInput wants it.
  struct SlabTable {
    std::vector<std::uint64_t> slab;
    std::vector<std::uint32_t> begin, pages;  ///< [group]
  };
  const SlabTable& slab_table(std::uint16_t device) const { return tables_[device]; }
  /// The slab that holds a page, and the page's start in it.
  Buffer* slab_of(std::uint16_t device, std::uint32_t g, std::uint32_t page,
                  std::uint64_t* page_offset) const;

 private:
  struct GroupState {
    std::vector<std::uint32_t> references;  ///< [page]
    std::vector<std::uint32_t> free;        ///< ids to reuse, last first
    std::uint32_t used = 0;
    std::vector<std::vector<std::unique_ptr<Buffer>>> slabs;  ///< [device][slab]
  };
  Result<void> add_slab(std::uint32_t g);
  void rebuild_tables();

  std::vector<Backend*> devices_;
  std::vector<KvGroup> groups_;
  std::vector<std::uint32_t> max_pages_;
  std::uint32_t pages_per_slab_;
  std::vector<GroupState> state_;
  std::vector<SlabTable> tables_;
  std::uint64_t allocated_bytes_ = 0;
};

}  // namespace lm
