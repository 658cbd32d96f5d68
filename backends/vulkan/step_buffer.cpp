#include "backends/vulkan/step_buffer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/reference/dequant_iq_grids.h"

namespace lm::vulkan {
namespace {

constexpr std::uint64_t kFirstBytes = 1u << 20;
constexpr std::uint64_t kAlign = 16;

std::vector<std::uint16_t> grids() {
  // In the order of the offsets in shaders/blocks.glsl.
  std::vector<std::uint16_t> all;
  const auto append = [&](const auto& grid) {
    all.insert(all.end(), std::begin(grid), std::end(grid));
  };
  append(reference::kIq1Grid);
  append(reference::kIq2XxsGrid);
  append(reference::kIq2XsGrid);
  append(reference::kIq2SGrid);
  append(reference::kIq3XxsGrid);
  append(reference::kIq3SGrid);
  return all;
}

/// KV positions of a sequence that an op may look up pages for.
std::uint32_t kv_end(const StepInput& step, std::uint32_t seq) {
  if (step.kv_len != nullptr) {
    return step.kv_len[seq];
  }
  std::uint32_t end = 0;
  for (std::uint32_t r = 0; r < step.n_row; ++r) {
    if (step.row_seq[r] == seq) {
      end = std::max(end, step.row_kv[r] + 1);
    }
  }
  return end;
}

/// Entries of the page table and of the slab table that the groups' sequences reach.
struct Extent {
  std::uint64_t pages = 0;
  std::uint64_t slabs = 0;
};
Extent extent_of(const StepInput& step, const StepNeeds& needs) {
  Extent extent;
  for (const std::uint32_t group : needs.kv_groups) {
    for (std::uint32_t seq = 0; seq < step.n_seq; ++seq) {
      const std::uint32_t begin = step.page_begin[group * step.n_seq + seq];
      const std::uint32_t n = (kv_end(step, seq) + kPageTokens - 1) / kPageTokens;
      extent.pages = std::max<std::uint64_t>(extent.pages, std::uint64_t{begin} + n);
      for (std::uint32_t i = 0; i < n; ++i) {
        const std::uint32_t page = step.page_table[begin + i];
        if (page != kNoPage) {
          extent.slabs = std::max<std::uint64_t>(
              extent.slabs, step.slab_begin[group] + page / step.slab_pages[group] + 1);
        }
      }
    }
  }
  return extent;
}

}  // namespace

void StepNeeds::add(const Op& op) {
  const AccessSet set = access(op);
  arrays |= set.step_arrays;
  if ((set.step_arrays & step_array::input_embd) != 0) {
    n_embd = set.writes[0].cols;
  }
  if ((set.reads_kv || set.writes_kv) &&
      std::find(kv_groups.begin(), kv_groups.end(), set.kv.group) == kv_groups.end()) {
    kv_groups.push_back(set.kv.group);
  }
}

Result<std::unique_ptr<StepBuffer>> StepBuffer::create(Device& device) {
  std::unique_ptr<StepBuffer> step(new StepBuffer(device));
  LM_TRY(step->header_, device.alloc(sizeof(StepHeader), MemoryKind::shared));
  LM_TRY(step->arrays_, device.alloc(kFirstBytes, MemoryKind::shared));
  const std::vector<std::uint16_t> codebooks = grids();
  const auto bytes = std::as_bytes(std::span(codebooks));
  LM_TRY(step->grids_, device.alloc(bytes.size(), MemoryKind::device));
  LM_CHECK(device.upload(step->grids_, 0, bytes));
  return step;
}

StepBuffer::~StepBuffer() {
  device_.free(header_);
  device_.free(arrays_);
  device_.free(grids_);
}

Result<void> StepBuffer::reserve(std::uint64_t bytes) {
  if (bytes <= arrays_.bytes) {
    return {};
  }
  LM_TRY(const Range larger, device_.alloc(std::max(bytes, 2 * arrays_.bytes), MemoryKind::shared));
  device_.free(arrays_);
  arrays_ = larger;
  return {};
}

Result<void> StepBuffer::put(const Range& to, std::span<const std::byte> bytes) {
  return device_.upload(to, 0, bytes);
}

Result<void> StepBuffer::write(const StepInput& step, const StepNeeds& needs) {
  packed_.clear();
  // Offsets first: where the arrays will lie is known when all are packed.
  const auto pack = [&](const auto* values, std::uint64_t n) -> std::uint64_t {
    if (values == nullptr || n == 0) {
      return UINT64_MAX;
    }
    const std::uint64_t at = (packed_.size() + kAlign - 1) / kAlign * kAlign;
    const std::uint64_t bytes = n * sizeof(*values);
    packed_.resize(at + bytes);
    std::memcpy(packed_.data() + at, values, bytes);
    return at;
  };
  const auto wants = [&](std::uint32_t bit) { return (needs.arrays & bit) != 0; };
  StepHeader header{};
  header.n_row = step.n_row;
  header.n_seq = step.n_seq;
  header.n_out = step.n_out;
  header.n_group = step.n_group;
  std::array<std::pair<std::uint64_t*, std::uint64_t>, 16> placed;
  std::size_t n_placed = 0;
  const auto place = [&](std::uint64_t& field, const auto* values, std::uint64_t n) {
    const std::uint64_t at = pack(values, n);
    if (at != UINT64_MAX) {
      placed[n_placed++] = {&field, at};
    }
  };
  if (wants(step_array::token)) {
    place(header.token, step.token, step.n_row);
  }
  if (wants(step_array::input_embd)) {
    place(header.input_embd, step.input_embd, std::uint64_t{step.n_row} * needs.n_embd);
  }
  if (wants(step_array::pos) && step.pos != nullptr) {
    first_pos_.resize(step.n_row);  // text uses the first component only
    for (std::uint32_t r = 0; r < step.n_row; ++r) {
      first_pos_[r] = step.pos[std::uint64_t{r} * kPosDims];
    }
    place(header.pos, first_pos_.data(), first_pos_.size());
  }
  if (wants(step_array::row_seq)) {
    place(header.row_seq, step.row_seq, step.n_row);
  }
  if (wants(step_array::row_kv)) {
    place(header.row_kv, step.row_kv, step.n_row);
  }
  if (wants(step_array::seq_row)) {
    place(header.seq_row, step.seq_row, std::uint64_t{step.n_seq} + 1);
  }
  if (wants(step_array::kv_len)) {
    place(header.kv_len, step.kv_len, step.n_seq);
  }
  if (wants(step_array::state_slot)) {
    place(header.state_slot, step.state_slot, step.n_seq);
  }
  if (wants(step_array::out_row)) {
    place(header.out_row, step.out_row, step.n_out);
  }
  if (!needs.kv_groups.empty() && step.page_table != nullptr) {
    const Extent extent = extent_of(step, needs);
    const std::uint32_t groups =
        *std::max_element(needs.kv_groups.begin(), needs.kv_groups.end()) + 1;
    place(header.page_begin, step.page_begin, std::uint64_t{groups} * step.n_seq);
    place(header.page_table, step.page_table, extent.pages);
    place(header.slab, step.slab, extent.slabs);
    place(header.slab_begin, step.slab_begin, groups);
    place(header.slab_pages, step.slab_pages, groups);
  }
  LM_CHECK(reserve(packed_.size()));
  for (std::size_t i = 0; i < n_placed; ++i) {
    *placed[i].first = arrays_.address() + placed[i].second;
  }
  header.state = step.state;
  header.grids = grids_.address();
  LM_CHECK(put(arrays_, packed_));
  return put(header_, std::as_bytes(std::span(&header, 1)));
}

}  // namespace lm::vulkan
