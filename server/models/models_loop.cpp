// The thread of Models: who gets which model, and when one goes.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <unistd.h>

#include "runtime/plan/memory_plan.h"
#include "server/models/models_impl.h"

namespace lm::server {
namespace {

/// Beside its weights a model needs at least about this much of the host: a short context and work
/// memory. What it really takes is the runner's business.
constexpr std::uint64_t kLeastWorkBytes = 64u << 20;

std::uint64_t host_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE));
}

std::uint64_t bytes_of(const Entry& entry) {
  const RunnerFigures figures = entry.model->figures();
  return entry.model->source().weight_bytes + figures.kv_bytes +
         std::max(figures.work_bytes, kLeastWorkBytes);
}

}  // namespace

void Models::Impl::log(const std::string& line) const {
  if (options.log) {
    options.log(line);
  }
}

void Models::Impl::loop() {
  for (;;) {
    const Clock::time_point next = on_time();
    std::function<void()> message;
    {
      std::unique_lock lock(inbox->mutex);
      const auto ready = [this] { return inbox->closed || !inbox->messages.empty(); };
      if (next == Clock::time_point::max()) {
        inbox->filled.wait(lock, ready);
      } else {
        inbox->filled.wait_until(lock, next, ready);
      }
      if (inbox->closed) {
        return;
      }
      if (!inbox->messages.empty()) {
        message = std::move(inbox->messages.front());
        inbox->messages.pop_front();
      }
    }
    if (message) {
      message();
    }
  }
}

/// Does what is due and returns when something will be.
Clock::time_point Models::Impl::on_time() {
  const Clock::time_point now = Clock::now();
  Clock::time_point next = Clock::time_point::max();
  std::vector<Entry*> over;
  for (const auto& entry : entries) {
    if (entry->idle() && (entry->leaving || (!entry->keep.forever && entry->expires <= now))) {
      over.push_back(entry.get());
    } else if (entry->idle() && !entry->keep.forever) {
      next = std::min(next, entry->expires);
    }
    if (entry->state != Entry::State::ready && options.load_timeout.count() > 0) {
      const auto limit = std::chrono::duration_cast<Clock::duration>(options.load_timeout);
      if (entry->last_progress + limit <= now) {
        log(fmt::format("{}: loading makes no progress; it is given up",
                        entry->model->source().name));
        entry->last_progress = now;
        entry->model->runner()->kill();
      }
      next = std::min(next, entry->last_progress + limit);
    }
  }
  for (Entry* entry : over) {
    remove(entry);
  }
  return next;
}

Entry* Models::Impl::find(const std::string& name, const std::string& id) {
  for (const auto& entry : entries) {
    const ModelSource& source = entry->model->source();
    if (source.name == name && source.id == id && !entry->leaving && !entry->model->is_spoilt()) {
      return entry.get();
    }
  }
  return nullptr;
}

Entry* Models::Impl::find(std::uint64_t serial) {
  const auto found = std::ranges::find_if(
      entries, [serial](const auto& e) { return e->model->serial() == serial; });
  return found == entries.end() ? nullptr : found->get();
}

void Models::Impl::refuse(Waiter& waiter, Error error) {
  n_waiting.fetch_sub(1);
  waiter.on_hold(std::unexpected(std::move(error)));
}

void Models::Impl::add(Waiter waiter) {
  if (Entry* entry = find(waiter.source->name, waiter.source->id)) {
    waiter.waited_for_load = entry->state == Entry::State::loading;
    entry->waiting.push_back(std::move(waiter));
    pump(*entry);
    return;
  }
  waiter.waited_for_load = true;
  unplaced.push_back(std::move(waiter));
  place();
}

void Models::Impl::drop(Ticket ticket) {
  const auto drop_from = [&](std::deque<Waiter>& waiting) {
    const auto found = std::ranges::find(waiting, ticket, &Waiter::ticket);
    if (found == waiting.end()) {
      return false;
    }
    n_waiting.fetch_sub(1);
    waiting.erase(found);
    return true;
  };
  if (drop_from(unplaced)) {
    return;
  }
  for (const auto& entry : entries) {
    if (drop_from(entry->waiting)) {
      if (entry->idle()) {
        entry->expires = Clock::now() + entry->keep.time;
      }
      pump(*entry);
      return;
    }
  }
}

/// Whether another model may be loaded now; idle ones that are in its way go, those with the least
/// time left first. `must`: at least one goes.
bool Models::Impl::make_room(const ModelSource& source, bool must) {
  for (;;) {
    std::uint64_t used = 0;
    Entry* victim = nullptr;
    for (const auto& entry : entries) {
      used += bytes_of(*entry);
      if (!entry->idle()) {
        continue;
      }
      const auto left = [](const Entry& e) {
        return e.keep.forever ? Clock::time_point::max() : e.expires;
      };
      if (victim == nullptr || left(*entry) < left(*victim)) {
        victim = entry.get();
      }
    }
    const std::uint64_t limit = options.memory_limit.value_or(host_bytes());
    const bool fits = used + source.weight_bytes + kLeastWorkBytes + memory_margin(limit) <= limit;
    if (entries.empty() || (!must && fits && entries.size() < options.max_loaded)) {
      return true;
    }
    if (victim == nullptr) {
      return false;
    }
    must = false;
    log(fmt::format("{}: unloaded to make room for {}", victim->model->source().name, source.name));
    remove(victim);
  }
}

void Models::Impl::place() {
  while (!unplaced.empty()) {
    const ModelSource& source = *unplaced.front().source;
    if (Entry* entry = find(source.name, source.id)) {
      entry->waiting.push_back(std::move(unplaced.front()));
      unplaced.pop_front();
      pump(*entry);
      continue;
    }
    // The same name with other contents, or a runner that is of no use any more: it goes first.
    for (const auto& entry : entries) {
      if (entry->model->source().name == source.name) {
        entry->leaving = true;
      }
    }
    std::vector<Entry*> over;
    for (const auto& entry : entries) {
      if (entry->leaving && entry->idle()) {
        over.push_back(entry.get());
      }
    }
    for (Entry* entry : over) {
      remove(entry);
    }
    if (!make_room(source, false)) {
      return;
    }
    Waiter first = std::move(unplaced.front());
    unplaced.pop_front();
    start(std::move(first));
  }
}

void Models::Impl::start(Waiter first) {
  auto entry = std::make_unique<Entry>();
  entry->model = std::make_shared<LoadedModel>(
      first.source, next_serial++,
      LoadedWith{.n_threads = first.wish.n_threads, .gpu_layers = first.wish.gpu_layers});
  entry->keep = options.keep_for;
  entry->session = options.session;
  entry->session.n_ctx = first.wish.n_ctx.value_or(entry->session.n_ctx);
  entry->session.n_batch = first.wish.n_batch.value_or(entry->session.n_batch);
  entry->began = entry->last_progress = Clock::now();
  LoadedModel* model = entry->model.get();
  const std::uint64_t serial = model->serial();
  const auto tell = [box = inbox](std::function<void()> message) { box->post(std::move(message)); };
  RunnerListener listener;
  listener.on_progress = [this, serial, tell](const std::string&) {
    tell([this, serial] {
      if (Entry* e = find(serial)) {
        e->last_progress = Clock::now();
      }
    });
  };
  listener.on_ready = [this, model, serial, tell](RunnerReady ready) {
    model->set_ready(std::move(ready));
    tell([this, serial] { became_ready(serial); });
  };
  listener.on_failed = [this, serial, tell](Error error) {
    tell([this, serial, error = std::move(error)] { failed(serial, error); });
  };
  listener.on_event = [model](Event event) { model->deliver(std::move(event)); };
  listener.on_figures = [model](RunnerFigures figures) { model->set_figures(figures); };
  listener.on_end = [this, model, serial, tell](const std::string& how) {
    model->fail_all({ErrorCode::device_lost, model->source().name,
                     fmt::format("its process {}", how), "send the request again"});
    tell([this, serial, how] { ended(serial, how); });
  };
  std::vector<int> fds;
  std::uint64_t used = 0;
  for (const store::Fd& fd : first.source->files) {
    fds.push_back(fd.get());
  }
  for (const auto& other : entries) {
    used += bytes_of(*other);
  }
  auto runner = RunnerProcess::spawn(options.program, first.source->name, fds, std::move(listener));
  if (!runner) {
    refuse(first, std::move(runner).error());
    return;
  }
  RunnerLoad load{.name = first.source->name,
                  .labels = first.source->labels,
                  .devices = options.devices,
                  .n_threads = first.wish.n_threads.value_or(0),
                  .isa = options.isa,
                  .session = entry->session};
  if (options.memory_limit || used > 0) {
    // Weights of the others are mapped files, which the system calls free memory.
    const std::uint64_t limit = options.memory_limit.value_or(host_bytes());
    load.memory_limit = limit > used ? limit - used : 0;
  }
  if (first.wish.gpu_layers.value_or(-1) >= 0) {
    load.gpu_layers = static_cast<std::uint32_t>(*first.wish.gpu_layers);
  }
  load.gpu_overhead = options.gpu_overhead;
  (*runner)->load(load);  // a runner that is gone already says so by its end
  entry->model->attach(std::move(*runner));
  entry->waiting.push_back(std::move(first));
  entries.push_back(std::move(entry));
}

/// Ends a runner that nobody waits for.
void Models::Impl::remove(Entry* entry) {
  const auto found =
      std::ranges::find_if(entries, [entry](const auto& e) { return e.get() == entry; });
  const std::unique_ptr<Entry> gone = std::move(*found);
  entries.erase(found);
  log(fmt::format("{}: unloaded", gone->model->source().name));
  if (!unplaced.empty()) {
    inbox->post([this] { place(); });
  }
}

bool Models::Impl::needs_session(const Entry& entry, const ModelWish& wish) const {
  const RunnerReady ready = entry.model->ready();
  return (wish.n_ctx && *wish.n_ctx > ready.n_ctx) ||
         (wish.n_batch && *wish.n_batch != entry.session.n_batch);
}

/// Lets waiting requests in, in order.
void Models::Impl::pump(Entry& entry) {
  while (entry.state == Entry::State::ready && !entry.waiting.empty()) {
    const ModelWish& wish = entry.waiting.front().wish;
    if (needs_session(entry, wish)) {
      if (entry.active > 0) {
        return;  // everybody behind waits too: nobody is overtaken for ever
      }
      SessionWish session = entry.session;
      session.n_ctx = std::max(wish.n_ctx.value_or(0), entry.model->ready().n_ctx);
      session.n_batch = wish.n_batch.value_or(session.n_batch);
      entry.state = Entry::State::resizing;
      entry.began = entry.last_progress = Clock::now();
      entry.session = session;
      entry.model->runner()->session(session);
      return;
    }
    if (entry.active >= entry.model->ready().parallel) {
      return;
    }
    Waiter waiter = std::move(entry.waiting.front());
    entry.waiting.pop_front();
    grant(entry, std::move(waiter));
  }
}

void Models::Impl::grant(Entry& entry, Waiter waiter) {
  n_waiting.fetch_sub(1);
  ++entry.active;
  entry.keep = waiter.wish.keep_for.value_or(entry.keep);
  const std::uint64_t load_ns =
      waiter.waited_for_load ? static_cast<std::uint64_t>((Clock::now() - waiter.since).count())
                             : 0;
  const auto release = [this, box = inbox](std::shared_ptr<LoadedModel> model) {
    box->post([this, model = std::move(model)] { released(model); });
  };
  waiter.on_hold(std::make_shared<Hold>(entry.model, load_ns, release));
}

void Models::Impl::released(const std::shared_ptr<LoadedModel>& model) {
  Entry* entry = find(model->serial());
  if (entry == nullptr) {
    return;  // its runner has ended meanwhile
  }
  --entry->active;
  entry->expires =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::min<std::chrono::nanoseconds>(
                         entry->keep.time, std::chrono::hours(24 * 365 * 10)));
  pump(*entry);
  const bool over = entry->leaving || entry->model->is_spoilt() ||
                    (!entry->keep.forever && entry->keep.time.count() <= 0);
  if (entry->active == 0 && entry->model->is_spoilt() && !entry->waiting.empty()) {
    // They get a fresh one.
    std::move(entry->waiting.rbegin(), entry->waiting.rend(), std::front_inserter(unplaced));
    entry->waiting.clear();
  }
  if (over && entry->idle()) {
    remove(entry);
  }
  place();
}

void Models::Impl::became_ready(std::uint64_t serial) {
  Entry* entry = find(serial);
  if (entry == nullptr) {
    return;
  }
  const std::shared_ptr<LoadedModel> model = entry->model;
  const RunnerReady ready = model->ready();
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - entry->began);
  log(fmt::format("{}: {} in {} ms, context {}", model->source().name,
                  entry->state == Entry::State::loading ? "loaded" : "new session", took.count(),
                  ready.n_ctx));
  for (const std::string& note : ready.notes) {
    log(fmt::format("{}: {}", model->source().name, note));
  }
  entry->state = Entry::State::ready;
  entry->expires = Clock::now() + std::chrono::duration_cast<Clock::duration>(entry->keep.time);
  pump(*entry);
}

void Models::Impl::failed(std::uint64_t serial, const Error& error) {
  Entry* entry = find(serial);
  if (entry == nullptr) {
    return;
  }
  const std::shared_ptr<LoadedModel> model = entry->model;
  if (entry->state == Entry::State::resizing) {
    // The old session goes on; who wanted more than that hears why not.
    entry->state = Entry::State::ready;
    entry->session.n_ctx = model->ready().n_ctx;
    entry->session.n_batch = model->ready().n_batch;
    for (auto at = entry->waiting.begin(); at != entry->waiting.end();) {
      if (needs_session(*entry, at->wish)) {
        Waiter waiter = std::move(*at);
        at = entry->waiting.erase(at);
        refuse(waiter, error);
      } else {
        ++at;
      }
    }
    pump(*entry);
    return;
  }
  std::deque<Waiter> waiting;
  waiting.swap(entry->waiting);
  const auto found =
      std::ranges::find_if(entries, [entry](const auto& e) { return e.get() == entry; });
  const std::unique_ptr<Entry> gone = std::move(*found);
  entries.erase(found);
  log(fmt::format("{}: can't be loaded: {}", model->source().name, error.problem));
  // Others may hold what it lacks: it is tried again as long as an idle one can go.
  if (error.code == ErrorCode::out_of_memory && !waiting.empty() && !entries.empty() &&
      make_room(*waiting.front().source, true)) {
    std::move(waiting.rbegin(), waiting.rend(), std::front_inserter(unplaced));
    place();
    return;
  }
  for (Waiter& waiter : waiting) {
    refuse(waiter, error);
  }
  place();
}

void Models::Impl::ended(std::uint64_t serial, const std::string& how) {
  Entry* entry = find(serial);
  if (entry == nullptr) {
    return;
  }
  const std::shared_ptr<LoadedModel> model = entry->model;
  log(fmt::format("{}: its process {}", model->source().name, how));
  std::deque<Waiter> waiting;
  waiting.swap(entry->waiting);
  const bool was_loading = entry->state == Entry::State::loading;
  const auto found =
      std::ranges::find_if(entries, [entry](const auto& e) { return e.get() == entry; });
  const std::unique_ptr<Entry> gone = std::move(*found);
  entries.erase(found);
  if (was_loading) {
    for (Waiter& waiter : waiting) {
      refuse(waiter, {ErrorCode::device_lost, model->source().name,
                      fmt::format("its process {} while it was loaded", how)});
    }
  } else {
    std::move(waiting.rbegin(), waiting.rend(), std::front_inserter(unplaced));
  }
  place();
}

std::vector<LoadedRow> Models::Impl::rows() const {
  std::vector<LoadedRow> rows;
  const Clock::time_point now = Clock::now();
  for (const auto& entry : entries) {
    LoadedRow row;
    row.name = entry->model->source().name;
    row.id = entry->model->source().id;
    row.pid = entry->model->runner()->pid();
    row.ready = entry->model->ready();
    row.figures = entry->model->figures();
    row.weight_bytes = entry->model->source().weight_bytes;
    for (const RunnerDevice& device : row.ready.devices) {
      row.gpu_bytes += device.gpu ? device.weight_bytes : 0;
    }
    row.active = entry->active;
    row.waiting = static_cast<std::uint32_t>(entry->waiting.size());
    row.forever = entry->keep.forever;
    row.remaining = entry->idle() ? std::chrono::nanoseconds(entry->expires - now)
                                  : std::chrono::nanoseconds(entry->keep.time);
    row.state = entry->leaving                          ? "stopping"
                : entry->state == Entry::State::ready   ? "ready"
                : entry->state == Entry::State::loading ? "loading"
                                                        : "resizing";
    rows.push_back(std::move(row));
  }
  std::ranges::stable_sort(rows, [](const LoadedRow& a, const LoadedRow& b) {
    return a.forever != b.forever ? a.forever : a.remaining > b.remaining;
  });
  return rows;
}

}  // namespace lm::server
