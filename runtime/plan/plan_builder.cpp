#include "runtime/plan/plan_builder.h"

#include <algorithm>
#include <limits>

#include "runtime/plan/arena.h"

namespace lm {
namespace {

constexpr std::size_t kConstantAlignment = 64 / sizeof(float);

}  // namespace

PlanBuilder::PlanBuilder(const Weights* weights, std::uint16_t n_device, std::uint32_t max_rows,
                         std::uint32_t max_outputs)
    : weights_(weights) {
  plan_.max_rows = max_rows;
  plan_.max_outputs = max_outputs;
  plan_.arena_bytes.resize(n_device);
  plan_.constants.resize(n_device);
}

Value PlanBuilder::value(std::uint16_t device, std::uint32_t cols, RowSet rows, DType dtype) {
  Value v{device,
          {dtype, kArena, values_.size(), rows == RowSet::step ? plan_.max_rows : plan_.max_outputs,
           cols},
          rows};
  values_.push_back(v);
  return v;
}

Value PlanBuilder::on(std::uint16_t device, const Value& v) {
  if (v.device == device) {
    return v;
  }
  const Value copy = value(device, v.ref.cols, v.rows, v.ref.dtype);
  emit(device, ops::Copy{v.ref, copy.ref, v.device, device, v.rows});
  return copy;
}

TensorRef PlanBuilder::slice_rows(const TensorRef& weight, std::uint32_t begin,
                                  std::uint32_t rows) {
  TensorRef part = weight;
  part.offset += row_bytes(weight.dtype, weight.cols) * begin;
  part.rows = rows;
  return part;
}

TensorRef PlanBuilder::slice_cols(const TensorRef& row, std::uint32_t begin, std::uint32_t n) {
  TensorRef part = row;
  part.offset += std::uint64_t{begin} * sizeof(float);
  part.cols = n;
  return part;
}

TensorRef PlanBuilder::constant(const std::string& key, std::uint16_t device,
                                const std::vector<float>& values) {
  const auto [at, is_new] = constant_refs_.try_emplace({device, key});
  if (is_new) {
    std::vector<float>& all = plan_.constants[device];
    all.resize((all.size() + kConstantAlignment - 1) / kConstantAlignment * kConstantAlignment);
    // Behind the arena and the weights stands one more buffer: the constants.
    const std::size_t n_buffer = weights_ == nullptr ? 1 : weights_->buffers(device).size();
    at->second = {DType::f32, static_cast<BufferIndex>(n_buffer), all.size() * sizeof(float), 1,
                  static_cast<std::uint32_t>(values.size())};
    all.insert(all.end(), values.begin(), values.end());
  }
  return at->second;
}

void PlanBuilder::emit(std::uint16_t device, Op op) {
  std::vector<Segment>& segments = in_head_ ? plan_.head : plan_.body;
  const bool is_copy = std::holds_alternative<ops::Copy>(op);
  const bool joins = !segments.empty() && segments.back().device == device && !is_copy &&
                     !std::holds_alternative<ops::Copy>(segments.back().ops.front());
  if (!joins) {
    segments.push_back({device, {}});
  }
  segments.back().ops.push_back(std::move(op));
}

Plan PlanBuilder::finish(const Value& logits) {
  // Every op in program order, with its device; the source of a copy lives on another one but
  // values know their own.
  std::vector<Op*> program;
  for (auto* segments : {&plan_.body, &plan_.head}) {
    for (Segment& segment : *segments) {
      for (Op& op : segment.ops) {
        program.push_back(&op);
      }
    }
  }
  constexpr std::uint32_t kNever = std::numeric_limits<std::uint32_t>::max();
  std::vector<Lifetime> life(values_.size());
  for (std::size_t v = 0; v < values_.size(); ++v) {
    life[v] = {values_[v].ref.bytes(), kNever, 0, 0};
  }
  for (std::uint32_t i = 0; i < program.size(); ++i) {
    for_each_tensor(*program[i], [&](TensorRef& ref) {
      if (ref.buffer == kArena) {
        Lifetime& l = life[ref.offset];
        l.first = std::min(l.first, i);
        l.last = std::max(l.last, i);
      }
    });
  }
  // The head runs several times over one body: what it reads from the body must survive until its
  // end.
  std::size_t body_ops = 0;
  for (const Segment& segment : plan_.body) {
    body_ops += segment.ops.size();
  }
  const auto end = static_cast<std::uint32_t>(program.size());
  for (Lifetime& l : life) {
    if (l.first < body_ops && l.last >= body_ops) {
      l.last = end;
    }
  }
  life[logits.ref.offset].last = end;

  std::vector<std::uint64_t> offsets(values_.size());
  for (std::uint16_t d = 0; d < plan_.arena_bytes.size(); ++d) {
    std::vector<Lifetime> here;
    std::vector<std::size_t> numbers;
    for (std::size_t v = 0; v < values_.size(); ++v) {
      if (values_[v].device == d && life[v].first != kNever) {
        here.push_back(life[v]);
        numbers.push_back(v);
      }
    }
    plan_.arena_bytes[d] = place(here);
    for (std::size_t i = 0; i < here.size(); ++i) {
      offsets[numbers[i]] = here[i].offset;
    }
  }
  for (Op* op : program) {
    for_each_tensor(*op, [&](TensorRef& ref) {
      if (ref.buffer == kArena) {
        ref.offset = offsets[ref.offset];
      }
    });
  }
  plan_.logits = logits.ref;
  plan_.logits.offset = offsets[logits.ref.offset];
  plan_.logits_device = logits.device;
  return std::move(plan_);
}

}  // namespace lm
