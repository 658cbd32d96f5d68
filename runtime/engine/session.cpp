#include "runtime/engine/session.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <unordered_set>

#include <fmt/core.h>

#include "runtime/engine/batch.h"
#include "runtime/engine/paging.h"
#include "runtime/kv/kv_layout.h"
#include "runtime/kv/page_pool.h"
#include "runtime/kv/state_pool.h"
#include "runtime/model/architecture.h"
#include "runtime/model/forward.h"
#include "runtime/plan/model_shape.h"
#include "runtime/plan/work_bytes.h"

namespace lm {
namespace {

constexpr std::uint32_t kIdleWindows = 2;
constexpr std::uint32_t kMaxBatch = 512;
/// A slab of about this size keeps the number of allocations small without claiming much more than
/// is used.
constexpr std::uint64_t kSlabBytes = 16u << 20;

/// One plan compiled on its devices.
struct CompiledPlan {
  Plan plan;
  std::vector<std::unique_ptr<Executable>> body, head;  ///< null where the segment is a Copy
};

}  // namespace

struct Session::Impl {
  // The model outlives everything below; executables go before the memory that they point into.
  std::shared_ptr<const Model> model;
  SessionOptions options;
  KvLayout kv;
  KvDemand demand;  ///< what the plan promised
  std::unique_ptr<PagePool> pages;
  std::unique_ptr<StatePool> states;  ///< null without recurrent layers
  std::vector<std::unique_ptr<Buffer>> arenas, scratch, constants;  ///< [device]
  std::vector<std::vector<Buffer*>> buffers;                        ///< [device][BufferIndex]
  std::map<std::uint32_t, CompiledPlan> plans;                      ///< by token bucket
  Batch batch{0};
  std::vector<std::byte> staging;
  CompiledPlan* last = nullptr;
  std::vector<OpTime> times;  ///< of the last step's ops, when profiling
  std::uint64_t device_ns = 0;
  std::vector<std::string> notes;

  std::uint16_t n_device() const { return static_cast<std::uint16_t>(model->devices().size()); }
  Backend& device(std::uint16_t d) const { return *model->devices()[d]; }
  bool reads_mapped_weights(std::uint16_t d) const {
    const DeviceKind kind = device(d).info().kind;
    return kind == DeviceKind::cpu || kind == DeviceKind::reference;
  }

  ForwardInputs forward_inputs() const {
    return {.hparams = model->hparams(),
            .file = model->file(),
            .weights = model->weights(),
            .placement = options.placement,
            .kv = kv,
            .n_ctx = options.n_ctx == 0 ? model->hparams().n_ctx_train : options.n_ctx,
            .pooled = model->hparams().pooling != Pooling::none,
            .n_device = n_device()};
  }
  Plan build_plan(std::uint32_t bucket) const {
    return plan_for_bucket(model->architecture(), forward_inputs(), bucket);
  }

  Result<void> check_supported(const Plan& plan) const;
  WorkBytes work_bytes() const;
  Result<void> choose_context(const WorkBytes& work);
  void widen_pool(const WorkBytes& work);
  Result<void> allocate(const WorkBytes& work, const Plan& any_plan);
  Result<CompiledPlan*> plan_for(std::uint32_t rows);
  Result<std::vector<std::unique_ptr<Executable>>> compile(const std::vector<Segment>& segments,
                                                           const Plan& plan);
  Result<void> run_segments(const std::vector<Segment>& segments,
                            const std::vector<std::unique_ptr<Executable>>& code,
                            std::uint32_t out_begin, std::uint32_t n_out, const StopFlag& stop);
  Result<void> run_copy(const ops::Copy& copy, std::uint32_t n_row, std::uint32_t n_out);
  Result<void> run_step(const StopFlag& stop, std::vector<float>& logits);
};

Result<void> Session::Impl::check_supported(const Plan& plan) const {
  for (const auto* segments : {&plan.body, &plan.head}) {
    for (const Segment& segment : *segments) {
      for (const Op& op : segment.ops) {
        if (std::holds_alternative<ops::Copy>(op) || device(segment.device).supports(op)) {
          continue;
        }
        std::string types;
        const AccessSet set = access(op);
        for (std::uint32_t i = 0; i < set.n_reads; ++i) {
          if (set.reads[i].buffer != kArena) {
            types +=
                fmt::format("{}{}", types.empty() ? "" : ", ", layout(set.reads[i].dtype).name);
          }
        }
        return fail(
            ErrorCode::unsupported, fmt::format("{}: {}", model->file().name(), op_name(op)),
            fmt::format("the {} backend can't run it (types {}; KV {})",
                        device(segment.device).info().id, types, layout(options.kv_type).name));
      }
    }
  }
  return {};
}

WorkBytes Session::Impl::work_bytes() const {
  std::vector<ScratchBytes> scratch_of;
  for (const auto& backend : model->devices()) {
    scratch_of.emplace_back([device = backend.get()](const Segment& segment, std::uint32_t max_rows,
                                                     std::uint32_t max_outputs) {
      return device->scratch_bytes(segment, max_rows, max_outputs);
    });
  }
  return lm::work_bytes(model->architecture(), forward_inputs(), options.n_batch, scratch_of);
}

Result<void> Session::Impl::choose_context(const WorkBytes& work) {
  const Hparams& h = model->hparams();
  const std::uint32_t floor = context_floor(h);
  const bool automatic = options.n_ctx == 0;
  demand = {.n_ctx = automatic ? h.n_ctx_train : options.n_ctx,
            .n_seq = std::max(options.n_seq_guaranteed, 1u),
            .n_batch = options.n_batch,
            .n_idle_window = kIdleWindows};
  for (;;) {
    std::vector<DeviceBytes> need = memory_plan(kv, work, demand);
    std::uint16_t short_on = n_device();
    std::uint64_t usable = 0;
    for (std::uint16_t d = 0; d < n_device(); ++d) {
      // Mapped weights are page cache, which MemAvailable counts as available: they are part of the
      // need. Weights that were uploaded are gone from what is free.
      need[d].weights = reads_mapped_weights(d) ? model->weights().bytes(d) : 0;
      const DeviceInfo info = device(d).info();
      const std::uint64_t margin = memory_margin(info.total_bytes);
      usable = info.free_bytes > margin ? info.free_bytes - margin : 0;
      if (need[d].total() > usable) {
        short_on = d;
        break;
      }
    }
    options.n_ctx = demand.n_ctx;
    if (short_on == n_device()) {
      widen_pool(work);
      return {};
    }
    const DeviceBytes& over = need[short_on];
    if (demand.n_idle_window > 0 && over.spare > 0) {
      demand.n_idle_window = 0;
      continue;
    }
    if (automatic && demand.n_ctx > floor) {
      // What does not fit is KV: take the share of it that does, at least one page less.
      const std::uint64_t fixed = over.total() - over.kv;
      const std::uint64_t room = usable > fixed ? usable - fixed : 0;
      const auto fits =
          static_cast<std::uint32_t>(over.kv == 0 ? 0 : room / (over.kv / demand.n_ctx + 1));
      demand.n_ctx = std::max(floor, std::min(demand.n_ctx - 1, fits) / kPageTokens * kPageTokens);
      continue;
    }
    if (reads_mapped_weights(short_on) && over.total() - over.weights <= usable) {
      // Weights that do not fit into memory are paged in from the file: slow is better than dead.
      const std::uint64_t free_bytes = device(short_on).info().free_bytes;
      if (over.total() > free_bytes) {
        notes.push_back(paging_note(model->file(), build_plan(1), over.total(), free_bytes));
      }
      return {};
    }
    return fail(
        ErrorCode::out_of_memory, device(short_on).info().id,
        fmt::format(
            "a context of {} tokens needs {} MiB (weights {}, KV {}, work {}), {} MiB are free",
            demand.n_ctx, over.total() >> 20, over.weights >> 20, (over.kv + over.spare) >> 20,
            (over.arena + over.scratch) >> 20, usable >> 20),
        "choose a smaller --ctx or --kv-type");
  }
}

/// Lets the pool grow to as many whole contexts as memory carries. Pages are made when somebody
/// needs them, so this costs nothing; recurrent states would be made at once and stay as promised.
void Session::Impl::widen_pool(const WorkBytes& work) {
  if (model->hparams().state_bytes() > 0) {
    return;
  }
  for (std::uint32_t n = options.n_seq_most; n > demand.n_seq; n /= 2) {
    KvDemand wider = demand;
    wider.n_seq = n;
    std::vector<DeviceBytes> need = memory_plan(kv, work, wider);
    bool fits = true;
    for (std::uint16_t d = 0; d < n_device(); ++d) {
      need[d].weights = model->weights().bytes(d);
      const DeviceInfo info = device(d).info();
      const std::uint64_t margin = memory_margin(info.total_bytes);
      fits = fits && need[d].total() + margin <= info.free_bytes;
    }
    if (fits) {
      demand = wider;
      return;
    }
  }
}

Result<void> Session::Impl::allocate(const WorkBytes& work, const Plan& any_plan) {
  std::vector<std::uint32_t> max_pages;
  for (const KvGroup& group : kv.groups) {
    max_pages.push_back(kv_pages(group, demand) + kv_spare_pages(group, demand));
  }
  std::vector<Backend*> devices;
  for (const auto& d : model->devices()) {
    devices.push_back(d.get());
  }
  const std::uint64_t page_bytes = std::max<std::uint64_t>(kv.page_bytes(), 1);
  const auto per_slab =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kSlabBytes / page_bytes, 1, 4096));
  if (model->hparams().state_bytes() > 0) {
    LM_TRY(states, StatePool::create(devices, kv.state_slot_bytes, state_slots(demand.n_seq)));
  }
  pages = std::make_unique<PagePool>(std::move(devices), kv.groups, std::move(max_pages), per_slab);

  arenas.resize(n_device());
  scratch.resize(n_device());
  constants.resize(n_device());
  buffers.resize(n_device());
  for (std::uint16_t d = 0; d < n_device(); ++d) {
    LM_TRY(arenas[d], device(d).alloc(work.arena[d]));
    LM_TRY(scratch[d], device(d).alloc(work.scratch[d]));
    const auto bytes = std::as_bytes(std::span(any_plan.constants[d]));
    LM_TRY(constants[d], device(d).alloc(work.constants[d]));
    LM_CHECK(device(d).upload(*constants[d], 0, bytes));
    buffers[d].push_back(arenas[d].get());
    for (std::size_t i = 1; i < model->weights().buffers(d).size(); ++i) {
      buffers[d].push_back(model->weights().buffers(d)[i].get());
    }
    buffers[d].push_back(constants[d].get());
  }
  return {};
}

Result<std::vector<std::unique_ptr<Executable>>> Session::Impl::compile(
    const std::vector<Segment>& segments, const Plan& plan) {
  std::vector<std::unique_ptr<Executable>> code(segments.size());
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    if (std::holds_alternative<ops::Copy>(segment.ops.front())) {
      continue;
    }
    LM_TRY(code[i], device(segment.device)
                        .compile({.segment = &segment,
                                  .buffers = buffers[segment.device],
                                  .scratch = scratch[segment.device].get(),
                                  .max_rows = plan.max_rows,
                                  .max_outputs = plan.max_outputs,
                                  .profile = options.profile}));
  }
  return code;
}

Result<CompiledPlan*> Session::Impl::plan_for(std::uint32_t rows) {
  const std::uint32_t bucket = bucket_for(rows);
  const auto [at, is_new] = plans.try_emplace(bucket);
  if (is_new) {
    CompiledPlan& compiled = at->second;
    compiled.plan = build_plan(bucket);
    auto body = compile(compiled.plan.body, compiled.plan);
    auto head = body ? compile(compiled.plan.head, compiled.plan) : std::move(body);
    if (!head) {
      plans.erase(at);
      return std::unexpected(std::move(head).error());
    }
    compiled.body = std::move(*body);
    compiled.head = std::move(*head);
  }
  last = &at->second;
  return last;
}

Result<void> Session::Impl::run_copy(const ops::Copy& copy, std::uint32_t n_row,
                                     std::uint32_t n_out) {
  const std::uint64_t rows = copy.rows == RowSet::step ? n_row : n_out;
  staging.resize(rows * copy.src.cols * sizeof(float));
  LM_CHECK(device(copy.src_device).download(*arenas[copy.src_device], copy.src.offset, staging));
  return device(copy.dst_device).upload(*arenas[copy.dst_device], copy.dst.offset, staging);
}

Result<void> Session::Impl::run_segments(const std::vector<Segment>& segments,
                                         const std::vector<std::unique_ptr<Executable>>& code,
                                         std::uint32_t out_begin, std::uint32_t n_out,
                                         const StopFlag& stop) {
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (const auto* copy = std::get_if<ops::Copy>(&segments[i].ops.front())) {
      LM_CHECK(run_copy(*copy, batch.n_row(), n_out));
      continue;
    }
    const StepInput view = batch.view(*pages, states.get(), segments[i].device, out_begin, n_out);
    const auto begin = std::chrono::steady_clock::now();
    const RunStatus status = code[i]->run(view, stop);
    device_ns += static_cast<std::uint64_t>(
        std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count());
    if (options.profile) {
      const std::vector<OpTime> part = code[i]->times();
      times.insert(times.end(), part.begin(), part.end());
    }
    switch (status) {
      case RunStatus::done:
        break;
      case RunStatus::cancelled:
        return fail(ErrorCode::cancelled, model->file().name(), "stopped");
      case RunStatus::lost:
        return fail(ErrorCode::device_lost, device(segments[i].device).info().id,
                    "the device was lost");
    }
  }
  return {};
}

Result<void> Session::Impl::run_step(const StopFlag& stop, std::vector<float>& logits) {
  LM_TRY(CompiledPlan* const compiled, plan_for(batch.n_row()));
  const Plan& plan = compiled->plan;
  times.clear();
  LM_CHECK(run_segments(plan.body, compiled->body, 0, 0, stop));
  const std::uint32_t width = plan.logits.cols;
  logits.resize(std::size_t{batch.n_out()} * width);
  for (std::uint32_t begin = 0; begin < batch.n_out(); begin += plan.max_outputs) {
    const std::uint32_t n = std::min(plan.max_outputs, batch.n_out() - begin);
    LM_CHECK(run_segments(plan.head, compiled->head, begin, n, stop));
    const auto out = std::span(logits).subspan(std::size_t{begin} * width, std::size_t{n} * width);
    LM_CHECK(device(plan.logits_device)
                 .download(*arenas[plan.logits_device], plan.logits.offset,
                           std::as_writable_bytes(out)));
  }
  return {};
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<const Model> model,
                                                 const SessionOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->model = std::move(model);
  impl->options = options;
  const Hparams& h = impl->model->hparams();
  // A text that must be evaluated as a whole needs a step as large as the context.
  impl->options.n_batch =
      h.needs_whole_text()
          ? std::min(options.n_ctx == 0 ? h.n_ctx_train : options.n_ctx, kBuckets.back())
          : std::clamp(options.n_batch, 1u, kMaxBatch);
  if (h.needs_whole_text()) {
    impl->options.n_ctx = impl->options.n_batch;
  }
  impl->options.placement = impl->model->placement();
  impl->batch = Batch(h.n_embd);
  LM_TRY(impl->kv, kv_layout(h, impl->options.placement, impl->n_device(), options.kv_type));
  const Plan largest = impl->build_plan(bucket_for(impl->options.n_batch));
  LM_CHECK(impl->check_supported(largest));
  const WorkBytes work = impl->work_bytes();
  LM_CHECK(impl->choose_context(work));
  // The context decides the rope factors, so the constants are those of a plan made after it.
  LM_CHECK(impl->allocate(work, impl->build_plan(bucket_for(impl->options.n_batch))));
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

std::uint32_t Session::n_ctx() const {
  return impl_->options.n_ctx;
}
std::uint32_t Session::n_batch() const {
  return impl_->options.n_batch;
}
const Model& Session::model() const {
  return *impl_->model;
}
std::uint64_t Session::kv_bytes_allocated() const {
  return impl_->pages->allocated_bytes();
}

std::uint32_t Session::output_width() const {
  return impl_->build_plan(1).logits.cols;
}

bool Session::is_pooled() const {
  return impl_->model->hparams().pooling != Pooling::none;
}

std::uint32_t Session::pooled_row(std::uint32_t n_tokens) const {
  return impl_->model->hparams().pooling == Pooling::last ? n_tokens - 1 : 0;
}

bool Session::has_state() const {
  return impl_->states != nullptr;
}

bool Session::needs_checkpoints() const {
  bool windowed = false;
  for (const KvGroup& group : impl_->kv.groups) {
    windowed = windowed || group.window > 0;
  }
  return has_state() || windowed;
}

std::uint64_t Session::arena_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& arena : impl_->arenas) {
    bytes += arena->size();
  }
  return bytes;
}

Result<std::unique_ptr<Sequence>> Session::new_sequence() {
  return std::make_unique<Sequence>(*impl_->pages, impl_->states.get());
}

Result<void> Session::step(std::span<const BatchItem> items, const StopFlag& stop,
                           std::vector<float>& logits) {
  std::size_t n_row = 0;
  std::unordered_set<const Sequence*> seen;
  for (const BatchItem& item : items) {
    n_row += item.tokens.size();
    if (!seen.insert(item.sequence).second || item.tokens.empty()) {
      return fail(ErrorCode::invalid_argument, "step",
                  "each sequence takes part once, with at least one row");
    }
    for (const Token token : item.tokens) {
      const bool from_embd = token == kNoToken && !item.embd.empty();
      if (!from_embd && (token < 0 || static_cast<std::uint32_t>(token) >= model().n_vocab())) {
        return fail(ErrorCode::invalid_argument, "token",
                    fmt::format("{} is not below {}", token, model().n_vocab()));
      }
    }
    if (item.sequence->length() + item.tokens.size() > n_ctx()) {
      return fail(ErrorCode::context_exceeded, model().file().name(),
                  fmt::format("{} tokens do not fit into a context of {}",
                              item.sequence->length() + item.tokens.size(), n_ctx()),
                  "use a larger --ctx");
    }
  }
  if (n_row == 0 || n_row > n_batch()) {
    return fail(ErrorCode::invalid_argument, "step",
                fmt::format("has {} rows, must be 1 to {}", n_row, n_batch()));
  }
  auto give_back = [&] {
    for (const BatchItem& item : items) {
      item.sequence->unreserve();
    }
  };
  for (const BatchItem& item : items) {
    if (auto reserved = item.sequence->reserve(static_cast<std::uint32_t>(item.tokens.size()));
        !reserved) {
      give_back();
      return reserved;
    }
  }
  impl_->batch.build(items, *impl_->pages);
  if (auto ran = impl_->run_step(stop, logits); !ran) {
    for (const BatchItem& item : items) {
      item.sequence->discard_step();
    }
    return ran;
  }
  for (const BatchItem& item : items) {
    item.sequence->commit(static_cast<std::uint32_t>(item.tokens.size()));
    for (std::uint32_t g = 0; g < impl_->pages->n_group(); ++g) {
      const std::uint32_t kept = impl_->pages->group(g).window + kMaxRollBack;
      if (kept > kMaxRollBack && item.sequence->length() >= kept) {
        item.sequence->release_before(g, item.sequence->length() - kept + 1);
      }
    }
  }
  return {};
}

Result<void> Session::evaluate(Sequence& sequence, std::span<const Token> tokens, bool all,
                               const StopFlag& stop, std::vector<float>& logits) {
  std::vector<std::uint32_t> every;
  std::vector<float> part;
  logits.clear();
  while (!tokens.empty()) {
    const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(tokens.size(), n_batch()));
    every.clear();
    for (std::uint32_t i = all ? 0 : n - 1; i < n && (all || n == tokens.size()); ++i) {
      every.push_back(i);
    }
    const BatchItem item{&sequence, tokens.first(n), {}, every};
    LM_CHECK(step(std::span(&item, 1), stop, part));
    logits.insert(logits.end(), part.begin(), part.end());
    tokens = tokens.subspan(n);
  }
  return {};
}

std::vector<std::pair<std::string, std::uint32_t>> Session::ops_by_executor() const {
  std::map<std::string, std::uint32_t> counts;
  const Plan plan = impl_->build_plan(1);
  for (const auto* segments : {&plan.body, &plan.head}) {
    for (const Segment& segment : *segments) {
      counts[impl_->device(segment.device).info().id] +=
          static_cast<std::uint32_t>(segment.ops.size());
    }
  }
  return {counts.begin(), counts.end()};
}

const std::vector<OpTime>& Session::last_times() const {
  return impl_->times;
}

OpWork Session::last_work() const {
  OpWork work;
  if (impl_->last == nullptr) {
    return work;
  }
  const Plan& plan = impl_->last->plan;
  const Batch& batch = impl_->batch;
  const auto add = [&](const std::vector<Segment>& segments, std::uint32_t begin, std::uint32_t n) {
    for (const Segment& segment : segments) {
      const StepInput view =
          batch.view(*impl_->pages, impl_->states.get(), segment.device, begin, n);
      for (const Op& op : segment.ops) {
        work += op_work(op, view);
      }
    }
  };
  add(plan.body, 0, 0);
  for (std::uint32_t begin = 0; begin < batch.n_out(); begin += plan.max_outputs) {
    add(plan.head, begin, std::min(plan.max_outputs, batch.n_out() - begin));
  }
  return work;
}

std::uint64_t Session::device_ns() const {
  return impl_->device_ns;
}

const std::vector<std::string>& Session::notes() const {
  return impl_->notes;
}

}  // namespace lm
