// The loop thread of an engine: who is admitted, who is next, run, sample, deliver.
#include <algorithm>

#include <fmt/core.h>

#include "runtime/engine/engine_impl.h"
#include "runtime/engine/prompt_lookup.h"

namespace lm {
namespace {

/// With more requests at once the batch is well used without guesses.
constexpr std::size_t kMaxDrafting = 4;
/// Steps of up to four rows cost little more than those of one, and some backends give the very
/// same logits in both.
constexpr std::uint32_t kLookupTokens = 3;

RequestId id_of(const Command& command) {
  return std::visit([](const auto& c) { return c.id; }, command);
}

}  // namespace

void Engine::Impl::post(Event e) {
  {
    const std::lock_guard lock(mutex);
    const auto box = outbox.find(e.id);
    if (box == outbox.end()) {
      return;
    }
    if (!options.sink) {
      box->second.push_back(std::move(e));
      event.notify_all();
      return;
    }
    if (e.kind == Event::Kind::done || e.kind == Event::Kind::error) {
      outbox.erase(box);
    }
  }
  options.sink(std::move(e));
}

void Engine::Impl::note_figures() {
  const std::lock_guard lock(mutex);
  figures = {.kv_bytes = session->kv_bytes_allocated(),
             .work_bytes = session->arena_bytes(),
             .active = static_cast<std::uint32_t>(active.size()),
             .waiting = static_cast<std::uint32_t>(waiting.size())};
}

/// Moves events to readers as far as their credit goes; retires requests whose last event is out.
void Engine::Impl::deliver() {
  for (auto& generation : active) {
    std::size_t n = std::min<std::size_t>(generation->credit, generation->events.size());
    generation->credit -= static_cast<std::uint32_t>(n);
    for (std::size_t i = 0; i < n; ++i) {
      post(std::move(generation->events[i]));
    }
    generation->events.erase(generation->events.begin(),
                             generation->events.begin() + static_cast<std::ptrdiff_t>(n));
    if (generation->finished() && generation->sequence) {
      if (!generation->embeds()) {
        cache.put(generation->tokens(), std::move(generation->sequence));
      }
      generation->sequence.reset();
      if (drafter) {
        drafter->forget(generation->id());
      }
      resume_preempted();
    }
  }
  std::erase_if(active, [](const auto& g) { return g->finished() && g->events.empty(); });
}

/// Takes commands; sleeps when there is nothing to do. False when the engine closes.
bool Engine::Impl::drain_inbox() {
  std::deque<Arrival> arrived;
  {
    std::unique_lock lock(mutex);
    const bool can_run = !scheduler->next(active).empty();
    if (!can_run && (waiting.empty() || active.size() >= kMaxActiveRequests)) {
      work.wait(lock, [&] { return closing || !inbox.empty(); });
    }
    if (closing) {
      return false;
    }
    arrived.swap(inbox);
    stop = false;
  }
  for (Arrival& arrival : arrived) {
    handle(std::move(arrival));
  }
  return true;
}

void Engine::Impl::handle(Arrival arrival) {
  const Command& command = arrival.command;
  if (std::holds_alternative<Request>(command) || std::holds_alternative<Embed>(command)) {
    waiting.push_back(std::move(arrival));
  } else if (const auto* cancel = std::get_if<Cancel>(&command)) {
    cancel_now(cancel->id);
  } else if (const auto* credit = std::get_if<Credit>(&command)) {
    for (auto& generation : active) {
      if (generation->id() == credit->id) {
        generation->credit += credit->n;
      }
    }
  }
}

void Engine::Impl::cancel_now(RequestId id) {
  for (auto& generation : active) {
    if (generation->id() == id) {
      generation->finish(Finish::cancelled);
      return;
    }
  }
  const auto queued = std::find_if(waiting.begin(), waiting.end(),
                                   [&](const Arrival& w) { return id_of(w.command) == id; });
  if (queued != waiting.end()) {
    Event done;
    done.id = id;
    done.kind = Event::Kind::done;
    done.finish = Finish::cancelled;
    waiting.erase(queued);
    post(std::move(done));
  }
}

Result<std::unique_ptr<Generation>> Engine::Impl::start(Command command, Clock::time_point time) {
  const std::string name = model->file().name();
  const Tokenizer& tokenizer = *model->tokenizer();
  if (auto* embed = std::get_if<Embed>(&command)) {
    if (!session->is_pooled()) {
      return fail(ErrorCode::unsupported, name, "is no embedding model",
                  "take one that the file itself says pools its output");
    }
    return Generation::start(std::move(*embed), tokenizer, session->n_ctx(), time);
  }
  if (session->is_pooled()) {
    return fail(ErrorCode::unsupported, name, "is an embedding model and writes no text",
                "use it to embed texts");
  }
  Request& request = std::get<Request>(command);
  const std::uint32_t limit = draft_limit(request);
  LM_TRY(auto generation, Generation::start(std::move(request), tokenizer, session->n_ctx(), time));
  generation->set_draft_limit(limit);
  if (session->needs_checkpoints()) {
    generation->set_checkpoint();
  }
  return generation;
}

std::uint32_t Engine::Impl::draft_limit(const Request& request) const {
  if (session->has_state() || (!drafter && !options.prompt_lookup)) {
    return 0;
  }
  if (request.draft_tokens >= 0) {
    return static_cast<std::uint32_t>(request.draft_tokens);
  }
  return drafter ? options.draft_tokens : kLookupTokens;
}

/// A new request, or one that lost its pages, begins where an idle sequence already is.
void Engine::Impl::find_past(Generation& generation) {
  if (generation.embeds() || generation.sequence->length() > 0) {
    return;
  }
  if (auto held = cache.take(generation.tokens())) {
    generation.sequence = std::move(held);
  }
}

void Engine::Impl::admit() {
  while (!waiting.empty() && active.size() < kMaxActiveRequests) {
    auto [command, time, format] = std::move(waiting.front());
    waiting.pop_front();
    const RequestId id = id_of(command);
    auto generation = start(std::move(command), time);
    if (!generation) {
      Event failed;
      failed.id = id;
      failed.kind = Event::Kind::error;
      failed.error = std::move(generation).error();
      post(std::move(failed));
      continue;
    }
    Generation& g = **generation;
    if (format != nullptr) {
      g.guide(std::move(format));
    }
    if (auto fresh = session->new_sequence(); fresh) {
      g.sequence = std::move(*fresh);
      find_past(g);
      g.set_cached(g.sequence->length());
    } else {
      g.finish(std::move(fresh).error());
    }
    g.order = next_order++;
    active.push_back(std::move(*generation));
  }
}

/// Gives decoding requests tokens to check together with their next one.
void Engine::Impl::draft() {
  std::vector<Generation*> decoding;
  for (auto& generation : active) {
    if (!generation->finished() && !generation->preempted && generation->decoding()) {
      decoding.push_back(generation.get());
    }
  }
  if (decoding.size() > kMaxDrafting) {
    return;
  }
  for (Generation* g : decoding) {
    const std::uint32_t n = g->draft_wanted();
    if (n == 0 || !g->draft().empty() || g->credit <= g->events.size()) {
      continue;
    }
    if (!drafter) {
      g->propose(lookup_draft(g->tokens(), n));
      continue;
    }
    {
      const std::lock_guard lock(mutex);
      in_step.assign(1, g->id());
    }
    auto draft = drafter->propose(g->id(), g->request().sampler, g->tokens(), n, stop);
    g->propose(std::move(draft.tokens), std::move(draft.q));
    const std::lock_guard lock(mutex);
    in_step.clear();
  }
}

/// Frees pages: idle sequences first, then those of the youngest request, which waits until another
/// one has finished and is then evaluated again. False: there is nothing left to give up.
bool Engine::Impl::make_room() {
  if (cache.drop_oldest()) {
    return true;
  }
  Generation* youngest = nullptr;
  std::size_t candidates = 0;
  for (auto& generation : active) {
    if (!generation->finished() && !generation->preempted) {
      ++candidates;
      if (youngest == nullptr || generation->order > youngest->order) {
        youngest = generation.get();
      }
    }
  }
  if (candidates < 2) {
    return false;
  }
  youngest->preempted = true;
  youngest->sequence->clear();
  return true;
}

void Engine::Impl::resume_preempted() {
  for (auto& generation : active) {
    generation->preempted = false;
  }
}

bool Engine::Impl::step() {
  for (auto& generation : active) {
    if (!generation->finished() && generation->tokens().size() > session->n_ctx()) {
      generation->shift_context();
    }
  }
  for (auto& generation : active) {
    if (!generation->finished() && !generation->preempted) {
      find_past(*generation);
    }
  }
  draft();
  const std::vector<Scheduler::Pick> picks = scheduler->next(active);
  if (picks.empty()) {
    return false;
  }
  std::vector<std::vector<Token>> feed(picks.size());
  std::vector<std::vector<std::uint32_t>> outputs(picks.size());
  std::vector<BatchItem> items;
  std::uint32_t n_row = 0;
  {
    const std::lock_guard lock(mutex);
    in_step.clear();
    for (const Scheduler::Pick& pick : picks) {
      in_step.push_back(pick.generation->id());
    }
  }
  for (std::size_t i = 0; i < picks.size(); ++i) {
    Generation& g = *picks[i].generation;
    g.note_first_step();
    const auto begin = g.tokens().begin() + g.sequence->length();
    feed[i].assign(begin, begin + std::min(picks[i].n_row, g.pending()));
    feed[i].insert(
        feed[i].end(), g.draft().begin(),
        g.draft().begin() + (picks[i].n_row - static_cast<std::uint32_t>(feed[i].size())));
    for (std::uint32_t j = picks[i].n_output; j > 0; --j) {
      outputs[i].push_back(picks[i].n_row - j);
    }
    if (g.embeds() && picks[i].n_output > 0) {
      outputs[i] = {session->pooled_row(picks[i].n_row)};
    }
    items.push_back({g.sequence.get(), feed[i], {}, outputs[i]});
    n_row += picks[i].n_row;
  }
  const Clock::time_point begin = Clock::now();
  const std::uint64_t device_before = session->device_ns();
  auto ran = session->step(items, stop, logits);
  {
    const std::lock_guard lock(mutex);
    in_step.clear();
  }
  if (!ran) {
    step_failed(picks, std::move(ran).error());
    return true;
  }
  scheduler->note(n_row, std::chrono::duration<double>(Clock::now() - begin).count());
  for (const Scheduler::Pick& pick : picks) {
    pick.generation->note_device(session->device_ns() - device_before);
  }
  take_results(picks);
  return true;
}

void Engine::Impl::take_results(const std::vector<Scheduler::Pick>& picks) {
  std::size_t row = 0;
  for (const Scheduler::Pick& pick : picks) {
    Generation& g = *pick.generation;
    if (g.checkpoint() > 0 && g.sequence->length() == g.checkpoint()) {
      const auto begin = g.tokens().begin();
      if (auto fork = g.sequence->fork()) {
        cache.put_checkpoint({begin, begin + g.checkpoint()}, std::move(*fork));
      }
    }
    if (pick.n_output > 0) {
      g.take_rows(std::span(logits).subspan(row * width, pick.n_output * width), width);
      row += pick.n_output;
    }
  }
}

void Engine::Impl::step_failed(const std::vector<Scheduler::Pick>& picks, Error error) {
  // A cancelled step left everything as it was: the next one goes on without the request that is
  // gone.
  if (error.code == ErrorCode::cancelled ||
      (error.code == ErrorCode::out_of_memory && make_room())) {
    return;
  }
  for (const Scheduler::Pick& pick : picks) {
    pick.generation->finish(error);
  }
}

/// Steps 5 to 8 of the road: who is next, run, sample, text. One turn of this loop is one step.
void Engine::Impl::loop() {
  while (drain_inbox()) {
    admit();
    deliver();
    try {
      step();
    } catch (const std::bad_alloc&) {
      step_failed(scheduler->next(active),
                  Error{ErrorCode::out_of_memory, model->file().name(), "no memory is left"});
    }
    deliver();
    note_figures();
  }
}

}  // namespace lm
