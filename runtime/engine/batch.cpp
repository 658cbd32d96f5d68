#include "runtime/engine/batch.h"

namespace lm {

void Batch::build(std::span<const BatchItem> items, const PagePool& pages) {
  for (auto* array : {&row_seq_, &row_kv_, &seq_row_, &kv_len_, &state_slot_, &page_begin_,
                      &page_table_, &out_row_}) {
    array->clear();
  }
  token_.clear();
  pos_.clear();
  input_embd_.clear();
  bool has_embd = false;
  for (const BatchItem& item : items) {
    has_embd = has_embd || !item.embd.empty();
  }
  for (std::uint32_t s = 0; s < items.size(); ++s) {
    const BatchItem& item = items[s];
    const auto first = n_row();
    const std::uint32_t before = item.sequence->length();
    seq_row_.push_back(first);
    for (std::uint32_t i = 0; i < item.tokens.size(); ++i) {
      token_.push_back(item.tokens[i]);
      row_seq_.push_back(s);
      row_kv_.push_back(before + i);
      for (std::uint32_t d = 0; d < kPosDims; ++d) {
        pos_.push_back(static_cast<std::int32_t>(before + i));
      }
    }
    if (has_embd) {
      if (item.embd.empty()) {
        input_embd_.resize(input_embd_.size() + item.tokens.size() * n_embd_);
      } else {
        input_embd_.insert(input_embd_.end(), item.embd.begin(), item.embd.end());
      }
    }
    kv_len_.push_back(before + static_cast<std::uint32_t>(item.tokens.size()));
    state_slot_.push_back(item.sequence->state_slot());
    for (const std::uint32_t row : item.outputs) {
      out_row_.push_back(first + row);
    }
  }
  seq_row_.push_back(n_row());
  for (std::uint32_t g = 0; g < pages.n_group(); ++g) {
    for (const BatchItem& item : items) {
      page_begin_.push_back(static_cast<std::uint32_t>(page_table_.size()));
      const auto& table = item.sequence->table(g);
      page_table_.insert(page_table_.end(), table.begin(), table.end());
    }
  }
}

StepInput Batch::view(const PagePool& pages, const StatePool* states, std::uint16_t device,
                      std::uint32_t out_begin, std::uint32_t n_out) const {
  const PagePool::SlabTable& slabs = pages.slab_table(device);
  StepInput step;
  step.n_row = n_row();
  step.token = token_.data();
  step.input_embd = input_embd_.empty() ? nullptr : input_embd_.data();
  step.pos = pos_.data();
  step.row_seq = row_seq_.data();
  step.row_kv = row_kv_.data();
  step.n_seq = static_cast<std::uint32_t>(kv_len_.size());
  step.seq_row = seq_row_.data();
  step.kv_len = kv_len_.data();
  step.state_slot = state_slot_.data();
  step.n_group = pages.n_group();
  step.page_begin = page_begin_.data();
  step.page_table = page_table_.data();
  step.n_out = n_out;
  step.out_row = out_row_.data() + out_begin;
  step.slab = slabs.slab.data();
  step.slab_begin = slabs.begin.data();
  step.slab_pages = slabs.pages.data();
  step.state = states != nullptr ? states->address(device) : 0;
  return step;
}

}  // namespace lm
