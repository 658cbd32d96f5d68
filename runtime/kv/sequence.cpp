#include "runtime/kv/sequence.h"

#include <algorithm>

#include <fmt/core.h>

#include "runtime/kv/page_pool.h"
#include "runtime/kv/state_pool.h"

namespace lm {
namespace {

std::uint32_t pages_for(std::uint32_t tokens) {
  return (tokens + kPageTokens - 1) / kPageTokens;
}

}  // namespace

Sequence::Sequence(PagePool& pages, StatePool* states)
    : pages_(pages), states_(states), tables_(pages.n_group()) {}

Sequence::~Sequence() {
  clear();
}

void Sequence::clear() {
  for (std::uint32_t g = 0; g < tables_.size(); ++g) {
    for (const std::uint32_t page : tables_[g]) {
      if (page != kNoPage) {
        pages_.release(g, page);
      }
    }
    tables_[g].clear();
  }
  if (state_slot_ != kNoSlot) {
    states_->release(state_slot_);
    state_slot_ = kNoSlot;
  }
  length_ = 0;
  state_length_ = 0;
}

Result<void> Sequence::reserve(std::uint32_t n) {
  if (n == 0) {
    return {};
  }
  auto reserve_all = [&]() -> Result<void> {
    for (std::uint32_t g = 0; g < tables_.size(); ++g) {
      std::vector<std::uint32_t>& table = tables_[g];
      if (length_ % kPageTokens != 0) {
        // The first new token lands in a page that is partly filled: it must be ours alone.
        std::uint32_t& last = table[length_ / kPageTokens];
        if (last != kNoPage && pages_.shared(g, last)) {
          LM_TRY(const std::uint32_t copy, pages_.duplicate(g, last));
          pages_.release(g, last);
          last = copy;
        }
      }
      while (table.size() < pages_for(length_ + n)) {
        LM_TRY(const std::uint32_t page, pages_.alloc(g));
        table.push_back(page);
      }
    }
    if (states_ != nullptr) {
      if (state_slot_ == kNoSlot) {
        LM_TRY(state_slot_, states_->alloc());
      } else if (states_->shared(state_slot_)) {
        LM_TRY(const std::uint32_t copy, states_->duplicate(state_slot_));
        states_->release(state_slot_);
        state_slot_ = copy;
      }
    }
    return {};
  };
  auto reserved = reserve_all();
  if (!reserved) {
    unreserve();
  }
  return reserved;
}

void Sequence::commit(std::uint32_t n) {
  length_ += n;
  state_length_ += n;
  LM_ASSERT(tables_.empty() || tables_[0].size() >= pages_for(length_),
            "committed more than was reserved");
}

void Sequence::unreserve() {
  for (std::uint32_t g = 0; g < tables_.size(); ++g) {
    std::vector<std::uint32_t>& table = tables_[g];
    while (table.size() > pages_for(length_)) {
      if (table.back() != kNoPage) {
        pages_.release(g, table.back());
      }
      table.pop_back();
    }
  }
}

Result<std::unique_ptr<Sequence>> Sequence::fork() {
  auto copy = std::make_unique<Sequence>(pages_, states_);
  for (std::uint32_t g = 0; g < tables_.size(); ++g) {
    const auto held =
        static_cast<std::ptrdiff_t>(std::min<std::size_t>(tables_[g].size(), pages_for(length_)));
    copy->tables_[g].assign(tables_[g].begin(), tables_[g].begin() + held);
    for (const std::uint32_t page : copy->tables_[g]) {
      if (page != kNoPage) {
        pages_.retain(g, page);
      }
    }
  }
  if (state_slot_ != kNoSlot) {
    states_->retain(state_slot_);
    copy->state_slot_ = state_slot_;
  }
  copy->length_ = length_;
  copy->state_length_ = state_length_;
  return copy;
}

void Sequence::discard_step() {
  if (state_slot_ != kNoSlot) {
    clear();
  } else {
    unreserve();
  }
}

Result<void> Sequence::check_roll_back(std::uint32_t n) const {
  if (n > length_) {
    return fail(ErrorCode::invalid_argument, "sequence",
                fmt::format("can't roll back {} of {} tokens", n, length_));
  }
  if (n == 0 || n == length_) {
    return {};
  }
  if (states_ != nullptr) {
    return fail(
        ErrorCode::unsupported, "sequence",
        fmt::format("its recurrent state has seen {} tokens and can't forget {}", state_length_, n),
        "go back to a snapshot");
  }
  const std::uint32_t length = length_ - n;
  for (std::uint32_t g = 0; g < tables_.size(); ++g) {
    const std::uint32_t window = pages_.group(g).window;
    const std::uint32_t first = window == 0 || length < window ? 0 : length - window + 1;
    for (std::uint32_t p = first / kPageTokens; p < pages_for(length); ++p) {
      if (tables_[g][p] == kNoPage) {
        return fail(ErrorCode::unsupported, "sequence",
                    fmt::format("tokens behind the window of {} were released", window),
                    "go back to a snapshot");
      }
    }
  }
  return {};
}

Result<void> Sequence::roll_back(std::uint32_t n) {
  LM_CHECK(check_roll_back(n));
  if (n == 0) {
    return {};
  }
  if (n == length_) {
    clear();
    return {};
  }
  length_ -= n;
  state_length_ = std::min(state_length_, length_);
  unreserve();
  return {};
}

void Sequence::release_before(std::uint32_t group, std::uint32_t first_needed) {
  std::vector<std::uint32_t>& table = tables_[group];
  const std::uint32_t end =
      std::min<std::uint32_t>(first_needed / kPageTokens, static_cast<std::uint32_t>(table.size()));
  // Pages are released in order, so the first one still held ends the search from behind.
  for (std::uint32_t p = end; p > 0 && table[p - 1] != kNoPage; --p) {
    pages_.release(group, table[p - 1]);
    table[p - 1] = kNoPage;
  }
}

}  // namespace lm
