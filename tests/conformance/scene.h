/// One conformance case: a segment, its memory and a step, to be run on any backend and compared
/// with the reference.
///
/// Memory is hostile: every byte that no op declares to read is NaN, step arrays that no op
/// declares are null, rows and pages beyond the step's are poisoned, and bytes that no op declares
/// to write must come back unchanged. So the read and write sets of `access` are proved by every
/// case.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "backends/backend.h"
#include "backends/reference/dequant.h"

namespace lm::conformance {

constexpr BufferIndex kWeights = 1;
constexpr std::uint32_t kPoison = 0x7fc5a5a5;  ///< a quiet NaN that stands out

struct SequenceSpec {
  std::uint32_t kv_before = 0;  ///< tokens already in the cache
  std::uint32_t rows = 1;       ///< tokens of this step
};

class Scene {
 public:
  explicit Scene(std::uint32_t seed) : random_(seed) {}

  // --- tensors ---
  /// Random values in the arena, for reading.
  TensorRef input(std::uint32_t rows, std::uint32_t cols, float scale = 1.0f) {
    const TensorRef t = reserve(arena_, kArena, DType::f32, rows, cols);
    fill(arena_, t, scale);
    return t;
  }
  /// Poisoned, to be written.
  TensorRef output(std::uint32_t rows, std::uint32_t cols, DType dtype = DType::f32) {
    return reserve(arena_, kArena, dtype, rows, cols);
  }
  /// Given values, row after row, in the arena or (`weights`) among the weights: f32 or i32.
  template <class Value>
  TensorRef values(std::uint32_t cols, const std::vector<Value>& all, bool weights = false) {
    static_assert(sizeof(Value) == 4);
    const DType dtype = std::is_same_v<Value, float> ? DType::f32 : DType::i32;
    std::vector<std::byte>& memory = weights ? weights_ : arena_;
    const TensorRef t = reserve(memory, weights ? kWeights : kArena, dtype,
                                static_cast<std::uint32_t>(all.size() / cols), cols);
    std::memcpy(&memory[t.offset], all.data(), t.bytes());
    return t;
  }
  /// A weight of any type. Blocks are random bits, drawn again until their values are sane, so that
  /// every bit pattern of a type's quants and scales occurs.
  TensorRef weight(DType dtype, std::uint32_t rows, std::uint32_t cols, float scale = 1.0f) {
    const TensorRef t = reserve(weights_, kWeights, dtype, rows, cols);
    if (dtype == DType::f32) {
      fill(weights_, t, scale);
      return t;
    }
    const BlockLayout& block = layout(dtype);
    std::vector<float> values(block.block_elems);
    const bool plain = block.block_elems == 1;
    for (std::uint64_t at = t.offset; at < t.offset + t.bytes(); at += block.block_bytes) {
      do {
        for (std::uint32_t i = 0; i < block.block_bytes; ++i) {
          weights_[at + i] = static_cast<std::byte>(random_());
        }
        if (plain) {
          const float value = scale * normal();
          reference::quantize_row(dtype, &value, 1, &weights_[at]);
        }
        reference::dequantize_row(dtype, &weights_[at], values.size(), values.data());
      } while (!plain && !sane(values));
    }
    return t;
  }

  void add(Op op) { segment.ops.push_back(std::move(op)); }

  // --- the step ---
  /// A step without KV: rows only.
  void rows(std::uint32_t n_row, std::uint32_t n_out = 0) {
    step_.n_row = n_row;
    for (std::uint32_t o = 0; o < n_out; ++o) {
      out_row_.push_back((o * 7 + 3) % std::max(n_row, 1u));
    }
    step_.n_out = n_out;
    max_rows = std::max(max_rows, n_row);
    max_outputs = std::max(max_outputs, n_out);
  }

  /// Rows whose outputs are wanted, beside `sequences`.
  void outputs(std::vector<std::uint32_t> rows) {
    out_row_ = std::move(rows);
    step_.n_out = static_cast<std::uint32_t>(out_row_.size());
    max_outputs = std::max(max_outputs, step_.n_out);
  }

  /// Sequences with pages of group 1 (group 0 stands there with other pages, to be left alone).
  /// `window` != 0 releases pages that no row sees.
  void sequences(const std::vector<SequenceSpec>& specs, std::uint32_t window = 0) {
    step_.n_seq = static_cast<std::uint32_t>(specs.size());
    for (std::uint32_t s = 0; s < specs.size(); ++s) {
      const SequenceSpec& spec = specs[s];
      seq_row_.push_back(step_.n_row);
      for (std::uint32_t i = 0; i < spec.rows; ++i) {
        row_seq_.push_back(s);
        row_kv_.push_back(spec.kv_before + i);
        pos_.insert(pos_.end(), kPosDims, static_cast<std::int32_t>(spec.kv_before + i + 5 * s));
      }
      step_.n_row += spec.rows;
      kv_len_.push_back(spec.kv_before + spec.rows);
    }
    seq_row_.push_back(step_.n_row);
    max_rows = std::max(max_rows, step_.n_row);

    // Group 0 has pages of its own; group 1 ids are dealt out backwards, so that neighbours lie far
    // apart.
    std::uint32_t total = 0;
    for (const std::uint32_t len : kv_len_) {
      total += pages_of(len);
    }
    page_table_.assign(specs.size(), 0);
    for (std::uint32_t s = 0; s < specs.size(); ++s) {
      page_begin_.push_back(s);
    }
    std::uint32_t next = total;
    for (std::uint32_t s = 0; s < specs.size(); ++s) {
      page_begin_.push_back(static_cast<std::uint32_t>(page_table_.size()));
      const std::uint32_t lowest =
          window != 0 && specs[s].kv_before >= window ? specs[s].kv_before - window + 1 : 0;
      for (std::uint32_t p = 0; p < pages_of(kv_len_[s]); ++p) {
        page_table_.push_back((p + 1) * kPageTokens <= lowest ? kNoPage : --next);
      }
    }
    n_page_ = total;
  }

  /// A KV type and head shape for the layer; the page holds other layers around it.
  KvRef kv(DType dtype, std::uint32_t n_head_kv, std::uint32_t head_dim_k, std::uint32_t head_dim_v,
           bool v_in_k = false) {
    kv_.v_in_k = v_in_k;
    kv_.group = 1;
    kv_.dtype = dtype;
    kv_.n_head_kv = n_head_kv;
    kv_.head_dim_k = head_dim_k;
    kv_.head_dim_v = head_dim_v;
    kv_.k_offset = 192;
    kv_.v_offset = 192 + n_head_kv * kv_.k_tile_bytes() + 64;
    kv_.page_bytes = kv_.v_offset + n_head_kv * kv_.v_tile_bytes() + 320;
    return kv_;
  }

  /// Random keys and values for everything that was cached before the step (`with_step`: and for
  /// the step's rows). Call after `sequences` and `kv`.
  void fill_cache(bool with_step, float scale = 1.0f) {
    k_rows_.assign(n_page_, poison(kv_.k_tile_bytes() * kv_.n_head_kv));
    v_rows_.assign(n_page_, poison(kv_.v_tile_bytes() * kv_.n_head_kv));
    for (std::uint32_t s = 0; s < step_.n_seq; ++s) {
      const std::uint32_t len = with_step ? kv_len_[s] : row_kv_[seq_row_[s]];
      for (std::uint32_t at = 0; at < len; ++at) {
        const std::uint32_t page = page_table_[page_begin_[step_.n_seq + s] + at / kPageTokens];
        if (page != kNoPage) {
          fill_row(k_rows_[page], kv_.head_dim_k, at % kPageTokens, scale);
          if (!kv_.v_in_k) {
            fill_row(v_rows_[page], kv_.head_dim_v, at % kPageTokens, scale);
          }
        }
      }
    }
  }

  /// Chosen keys and values instead: of_key(position, dimension) and of_value alike, for all heads
  /// and sequences.
  template <class Key, class Value>
  void set_cache(const Key& of_key, const Value& of_value) {
    fill_cache(true);
    for (std::uint32_t s = 0; s < step_.n_seq; ++s) {
      for (std::uint32_t at = 0; at < kv_len_[s]; ++at) {
        const std::uint32_t page = page_table_[page_begin_[step_.n_seq + s] + at / kPageTokens];
        for (std::uint32_t h = 0; page != kNoPage && h < kv_.n_head_kv; ++h) {
          set_row(k_rows_[page], kv_.head_dim_k, h, at, of_key);
          if (!kv_.v_in_k) {
            set_row(v_rows_[page], kv_.head_dim_v, h, at, of_value);
          }
        }
      }
    }
  }

  /// Recurrent state of so many values a sequence, between other layers' states. Call after
  /// `sequences`; random values of `scale`. Slots are dealt out backwards, and some are nobody's.
  StateRef state(std::uint32_t values, float scale = 1.0f) {
    state_.offset = 64;
    state_.bytes = values * sizeof(float);
    state_.slot_bytes = 64 + state_.bytes + 36;
    state_.slot_bytes -= state_.slot_bytes % 4;
    states_.resize(state_.slot_bytes * (step_.n_seq + 2));
    for (std::size_t at = 0; at < states_.size(); at += sizeof kPoison) {
      std::memcpy(&states_[at], &kPoison, sizeof kPoison);
    }
    for (std::uint32_t s = 0; s < step_.n_seq; ++s) {
      state_slot_.push_back(step_.n_seq - s);
      for (std::uint32_t i = 0; i < values; ++i) {
        const float value = scale * normal();
        std::memcpy(&states_[state_at(s) + i * sizeof value], &value, sizeof value);
      }
    }
    return state_;
  }
  void set_state(std::uint32_t seq, const std::vector<float>& values) {
    std::memcpy(&states_[state_at(seq)], values.data(), state_.bytes);
  }

  void tokens(std::vector<std::int32_t> ids) { token_ = std::move(ids); }
  void embeddings(std::uint32_t cols) {
    input_embd_.resize(std::size_t{step_.n_row} * cols);
    for (float& v : input_embd_) {
      v = normal();
    }
  }

  float normal() { return distribution_(random_); }
  std::uint32_t n_row() const { return step_.n_row; }
  std::uint32_t n_out() const { return step_.n_out; }

  Segment segment;
  std::uint32_t max_rows = 1;
  std::uint32_t max_outputs = 1;

  // --- running ---
  struct Outcome {
    std::vector<std::byte> arena;
    std::vector<std::vector<std::byte>> k_rows, v_rows;  ///< [page] as plain rows
    RunStatus status = RunStatus::done;
    std::vector<OpTime> times;
    std::vector<std::vector<float>> states;  ///< [sequence]

    std::vector<float> values(const TensorRef& t, std::uint32_t rows) const {
      std::vector<float> v(std::size_t{rows} * t.cols);
      if (!v.empty()) {
        std::memcpy(v.data(), arena.data() + t.offset, v.size() * sizeof(float));
      }
      return v;
    }
    std::vector<std::int32_t> ints(const TensorRef& t, std::uint32_t rows) const {
      std::vector<std::int32_t> v(std::size_t{rows} * t.cols);
      if (!v.empty()) {
        std::memcpy(v.data(), arena.data() + t.offset, v.size() * sizeof(std::int32_t));
      }
      return v;
    }
  };

  static constexpr std::uint32_t kSlabPages = 3;
  static constexpr std::uint64_t kGuardBytes = 4096;

  /// Runs the segment once and returns what it left behind. Failures are reported to gtest.
  Outcome run(Backend& backend, const StopFlag& stop, bool profile = false) const {
    Outcome outcome;
    auto arena = take(backend.alloc(std::max<std::uint64_t>(arena_.size(), 64)));
    auto weights = take(backend.import(weights_));
    const std::uint64_t scratch_bytes = backend.scratch_bytes(segment, max_rows, max_outputs);
    auto scratch = take(backend.alloc(scratch_bytes + kGuardBytes));
    auto states = take(backend.alloc(std::max<std::uint64_t>(states_.size(), 64)));
    if (!arena || !weights || !scratch || !states) {
      return outcome;
    }
    expect_ok(backend.upload(*states, 0, states_));
    expect_ok(backend.upload(*arena, 0, arena_));
    // NaN: nothing may be read before it is written.
    expect_ok(backend.upload(*scratch, 0, poison(scratch->size())));

    std::vector<std::unique_ptr<Buffer>> slabs;
    std::vector<std::uint64_t> slab_addresses = {0};  // group 0 has a slab that must not be touched
    const std::uint32_t n_slab = n_page_ == 0 ? 0 : (n_page_ + kSlabPages - 1) / kSlabPages;
    for (std::uint32_t i = 0; i < n_slab; ++i) {
      slabs.push_back(take(backend.alloc(kv_.page_bytes * kSlabPages)));
      expect_ok(backend.upload(*slabs.back(), 0,
                               std::vector<std::byte>(slabs.back()->size(), std::byte{0xa5})));
      slab_addresses.push_back(slabs.back()->address());
    }
    for (std::uint32_t p = 0; p < k_rows_.size(); ++p) {
      expect_ok(backend.write_kv(*slabs[p / kSlabPages], kv_.page_bytes * (p % kSlabPages), kv_,
                                 k_rows_[p], v_rows_[p]));
    }

    Buffer* const buffers[] = {arena.get(), weights.get()};
    CompileRequest request;
    request.segment = &segment;
    request.buffers = buffers;
    request.scratch = scratch.get();
    request.max_rows = max_rows;
    request.max_outputs = max_outputs;
    request.profile = profile;
    auto executable = backend.compile(request);
    if (!executable) {
      ADD_FAILURE() << "compile: " << executable.error().subject << ": "
                    << executable.error().problem;
      return outcome;
    }
    const std::uint32_t slab_begin[] = {0, 1};
    const std::uint32_t slab_pages[] = {1, kSlabPages};
    StepInput step = declared_step();
    if (step.page_table != nullptr) {
      step.slab = slab_addresses.data();
      step.slab_begin = slab_begin;
      step.slab_pages = slab_pages;
    }
    step.state = step.state_slot != nullptr ? states->address() : 0;
    outcome.status = (*executable)->run(step, stop);
    outcome.times = (*executable)->times();

    outcome.arena.resize(arena_.size());
    expect_ok(backend.download(*arena, 0, outcome.arena));
    for (std::uint32_t p = 0; p < k_rows_.size(); ++p) {
      outcome.k_rows.push_back(std::vector<std::byte>(k_rows_[p].size()));
      outcome.v_rows.push_back(std::vector<std::byte>(v_rows_[p].size()));
      expect_ok(backend.read_kv(*slabs[p / kSlabPages], kv_.page_bytes * (p % kSlabPages), kv_,
                                outcome.k_rows.back(), outcome.v_rows.back()));
    }
    std::vector<std::byte> states_after(states_.size());
    expect_ok(backend.download(*states, 0, states_after));
    expect_only_declared_state(states_after);
    for (std::uint32_t s = 0; s < state_slot_.size(); ++s) {
      outcome.states.emplace_back(state_.bytes / sizeof(float));
      if (state_.bytes > 0) {
        std::memcpy(outcome.states.back().data(), &states_after[state_at(s)], state_.bytes);
      }
    }
    std::vector<std::byte> guard(scratch->size() - scratch_bytes);
    expect_ok(backend.download(*scratch, scratch_bytes, guard));
    for (const std::byte b : guard) {
      if (b != std::byte{0xff}) {
        ADD_FAILURE() << "scratch is used beyond the " << scratch_bytes
                      << " bytes that were asked for";
        break;
      }
    }
    std::vector<std::vector<std::byte>> slabs_after;
    for (const auto& slab : slabs) {
      slabs_after.emplace_back(slab->size());
      expect_ok(backend.download(*slab, 0, slabs_after.back()));
    }
    expect_only_declared_writes(outcome, slabs_after);
    return outcome;
  }

  const KvRef& kv_ref() const { return kv_; }
  std::uint32_t page_of_row(std::uint32_t row) const {
    return page_table_[page_begin_[step_.n_seq + row_seq_[row]] + row_kv_[row] / kPageTokens];
  }
  std::uint32_t kv_of_row(std::uint32_t row) const { return row_kv_[row]; }

 private:
  static std::uint32_t pages_of(std::uint32_t len) { return (len + kPageTokens - 1) / kPageTokens; }

  static std::vector<std::byte> poison(std::uint64_t bytes) {
    return std::vector<std::byte>(bytes, std::byte{0xff});
  }

  static bool sane(const std::vector<float>& values) {
    double square = 0.0;
    for (const float v : values) {
      square += static_cast<double>(v) * v;
    }
    const double rms = std::sqrt(square / static_cast<double>(values.size()));
    return rms > 0.01 && rms < 4.0;  // false for NaN and infinity, too
  }

  template <class T>
  static std::unique_ptr<T> take(Result<std::unique_ptr<T>> result) {
    if (!result) {
      ADD_FAILURE() << result.error().subject << ": " << result.error().problem;
      return nullptr;
    }
    return std::move(*result);
  }
  static void expect_ok(const Result<void>& result) {
    if (!result) {
      ADD_FAILURE() << result.error().subject << ": " << result.error().problem;
    }
  }

  /// Tensors stand apart, with poison between them.
  TensorRef reserve(std::vector<std::byte>& memory, BufferIndex buffer, DType dtype,
                    std::uint32_t rows, std::uint32_t cols) {
    TensorRef t;
    t.dtype = dtype;
    t.buffer = buffer;
    t.offset = (memory.size() + 127) / 64 * 64;
    t.rows = rows;
    t.cols = cols;
    const std::size_t end = (t.offset + t.bytes() + 127) / 64 * 64;
    std::size_t at = memory.size();
    memory.resize(end);
    for (; at < end; at += sizeof kPoison) {
      std::memcpy(&memory[at], &kPoison, sizeof kPoison);
    }
    return t;
  }

  void fill(std::vector<std::byte>& memory, const TensorRef& t, float scale) {
    for (std::uint64_t at = t.offset; at < t.offset + t.bytes(); at += sizeof(float)) {
      const float value = scale * normal();
      std::memcpy(&memory[at], &value, sizeof value);
    }
  }

  /// The row at `at` of all heads' tiles of a page.
  void fill_row(std::vector<std::byte>& page, std::uint32_t dim, std::uint32_t at, float scale) {
    std::vector<float> head(dim);
    const std::uint64_t row = row_bytes(kv_.dtype, dim);
    for (std::uint32_t h = 0; h < kv_.n_head_kv; ++h) {
      for (float& v : head) {
        v = scale * normal();
      }
      reference::quantize_row(kv_.dtype, head.data(), dim,
                              &page[row * (std::uint64_t{h} * kPageTokens + at)]);
    }
  }

  template <class Value>
  void set_row(std::vector<std::byte>& page, std::uint32_t dim, std::uint32_t head,
               std::uint32_t at, const Value& value) {
    std::vector<float> row(dim);
    for (std::uint32_t d = 0; d < dim; ++d) {
      row[d] = value(at, d);
    }
    const std::uint64_t bytes = row_bytes(kv_.dtype, dim);
    reference::quantize_row(kv_.dtype, row.data(), dim,
                            &page[bytes * (std::uint64_t{head} * kPageTokens + at % kPageTokens)]);
  }

  std::uint64_t state_at(std::uint32_t seq) const {
    return state_.slot_bytes * state_slot_[seq] + state_.offset;
  }

  /// The step with only those arrays that the ops declare.
  StepInput declared_step() const {
    std::uint32_t arrays = 0;
    for (const Op& op : segment.ops) {
      arrays |= access(op).step_arrays;
    }
    StepInput s = step_;
    const auto give = [&](auto& pointer, std::uint32_t bit, const auto& vector) {
      pointer = (arrays & bit) != 0 && !vector.empty() ? vector.data() : nullptr;
    };
    give(s.token, step_array::token, token_);
    give(s.input_embd, step_array::input_embd, input_embd_);
    give(s.pos, step_array::pos, pos_);
    give(s.row_seq, step_array::row_seq, row_seq_);
    give(s.row_kv, step_array::row_kv, row_kv_);
    give(s.seq_row, step_array::seq_row, seq_row_);
    give(s.kv_len, step_array::kv_len, kv_len_);
    give(s.page_begin, step_array::pages, page_begin_);
    give(s.page_table, step_array::pages, page_table_);
    give(s.out_row, step_array::out_row, out_row_);
    give(s.state_slot, step_array::state_slot, state_slot_);
    s.n_group = s.page_table != nullptr ? 2 : 0;
    return s;
  }

  void expect_only_declared_writes(const Outcome& outcome,
                                   const std::vector<std::vector<std::byte>>& slabs) const {
    std::vector<bool> may_change(arena_.size(), false);
    bool writes_kv = false;
    for (const Op& op : segment.ops) {
      const AccessSet set = access(op);
      writes_kv = writes_kv || set.writes_kv;
      for (std::uint32_t i = 0; i < set.n_writes; ++i) {
        const TensorRef& t = set.writes[i];
        ASSERT_EQ(t.buffer, kArena) << op_name(op) << " declares to write weights";
        // Rows that are not alive stay untouched, too.
        const std::uint64_t bytes = row_bytes(t.dtype, t.cols) * std::max(step_.n_row, step_.n_out);
        for (std::uint64_t b = 0; b < std::min(bytes, t.bytes()); ++b) {
          may_change[t.offset + b] = true;
        }
      }
    }
    std::size_t wrong = 0;
    for (std::size_t b = 0; b < arena_.size(); ++b) {
      wrong += !may_change[b] && arena_[b] != outcome.arena[b];
    }
    EXPECT_EQ(wrong, 0u) << "bytes of the arena changed that no op declares to write";

    for (std::uint32_t p = 0; p < n_page_; ++p) {
      const std::byte* page = slabs[p / kSlabPages].data() + kv_.page_bytes * (p % kSlabPages);
      for (std::uint64_t b = 0; b < kv_.page_bytes; ++b) {
        const bool k = b >= kv_.k_offset && b < kv_.k_offset + kv_.k_tile_bytes() * kv_.n_head_kv;
        const bool v = !kv_.v_in_k && b >= kv_.v_offset &&
                       b < kv_.v_offset + kv_.v_tile_bytes() * kv_.n_head_kv;
        if (!k && !v && page[b] != std::byte{0xa5}) {
          FAIL() << "byte " << b << " of page " << p << " belongs to another layer and changed";
        }
      }
    }
    for (std::uint32_t p = 0; p < outcome.k_rows.size(); ++p) {
      expect_rows_kept(p, k_rows_[p], outcome.k_rows[p], kv_.head_dim_k, writes_kv);
      if (!kv_.v_in_k) {
        expect_rows_kept(p, v_rows_[p], outcome.v_rows[p], kv_.head_dim_v, writes_kv);
      }
    }
  }

  /// Only this layer's state of the sequences that have rows may change.
  void expect_only_declared_state(const std::vector<std::byte>& after) const {
    std::vector<bool> may_change(states_.size(), false);
    bool uses_state = false;
    for (const Op& op : segment.ops) {
      uses_state = uses_state || access(op).uses_state;
    }
    for (std::uint32_t s = 0; uses_state && s < state_slot_.size(); ++s) {
      for (std::uint64_t b = 0; b < state_.bytes && seq_row_[s] < seq_row_[s + 1]; ++b) {
        may_change[state_at(s) + b] = true;
      }
    }
    std::size_t wrong = 0;
    for (std::size_t b = 0; b < states_.size(); ++b) {
      wrong += !may_change[b] && states_[b] != after[b];
    }
    EXPECT_EQ(wrong, 0u) << "bytes of state changed that belong to nobody or to another layer";
  }

  void expect_rows_kept(std::uint32_t page, const std::vector<std::byte>& before,
                        const std::vector<std::byte>& after, std::uint32_t dim,
                        bool writes_kv) const {
    const std::uint64_t row = row_bytes(kv_.dtype, dim);
    std::vector<bool> written(kPageTokens, false);
    for (std::uint32_t r = 0; writes_kv && r < step_.n_row; ++r) {
      if (page_of_row(r) == page) {
        written[row_kv_[r] % kPageTokens] = true;
      }
    }
    for (std::uint64_t i = 0; i < std::uint64_t{kv_.n_head_kv} * kPageTokens; ++i) {
      if (!written[i % kPageTokens] && std::memcmp(&before[row * i], &after[row * i], row) != 0) {
        FAIL() << "row " << i % kPageTokens << " of page " << page
               << " changed and is not of this step";
      }
    }
  }

  std::mt19937 random_;
  std::normal_distribution<float> distribution_{0.0f, 1.0f};
  std::vector<std::byte> arena_, weights_;
  StepInput step_;
  std::vector<std::int32_t> token_, pos_;
  std::vector<float> input_embd_;
  std::vector<std::uint32_t> row_seq_, row_kv_, seq_row_, kv_len_, page_begin_, page_table_,
      out_row_, state_slot_;
  KvRef kv_;
  StateRef state_;
  std::vector<std::byte> states_;
  std::uint32_t n_page_ = 0;
  std::vector<std::vector<std::byte>> k_rows_, v_rows_;
};

}  // namespace lm::conformance
