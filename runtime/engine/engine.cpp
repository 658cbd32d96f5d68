// The in-process carrier: commands in, events out, credit for what was taken.
#include "runtime/engine/engine.h"

#include <algorithm>

#include <fmt/core.h>

#include "runtime/engine/engine_impl.h"

namespace lm {

Result<void> Engine::Impl::attach_drafter() {
  const std::string draft_name = options.draft_model->file().name();
  if (session->has_state()) {
    notes.push_back(
        fmt::format("{} is not used: {} has recurrent layers, which can't take a wrong "
                    "guess back",
                    draft_name, model->file().name()));
    return {};
  }
  LM_CHECK(check_draft(*model, *options.draft_model));
  SessionOptions own = options.session;
  own.n_ctx = std::min(session->n_ctx(), options.draft_model->hparams().n_ctx_train);
  own.placement = {};
  LM_TRY(drafter, DraftModel::create(options.draft_model, own));
  return {};
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const Model> model,
                                               const EngineOptions& options) {
  if (model->tokenizer() == nullptr) {
    return fail(ErrorCode::missing, fmt::format("{}: tokenizer.ggml.tokens", model->file().name()),
                "is not in the file; text needs a vocabulary");
  }
  auto impl = std::make_unique<Impl>();
  impl->model = model;
  impl->options = options;
  LM_TRY(impl->session, Session::create(std::move(model), options.session));
  impl->notes = impl->session->notes();
  impl->width = impl->session->output_width();
  impl->formats.emplace(*impl->model->tokenizer());
  impl->scheduler.emplace(impl->session->n_batch(), impl->model->hparams().needs_whole_text());
  if (options.draft_model) {
    LM_CHECK(impl->attach_drafter());
  }
  impl->note_figures();
  impl->thread = std::jthread([raw = impl.get()] { raw->loop(); });
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Engine::~Engine() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
    impl_->stop = true;
  }
  impl_->work.notify_all();
  impl_->thread.join();
}

const Model& Engine::model() const {
  return *impl_->model;
}
std::uint32_t Engine::n_ctx() const {
  return impl_->session->n_ctx();
}

std::vector<std::string> Engine::placement_lines() const {
  std::vector<std::string> lines;
  const auto& devices = impl_->model->devices();
  for (std::uint16_t d = 0; d < devices.size(); ++d) {
    const DeviceInfo info = devices[d]->info();
    lines.push_back(fmt::format("{} ({}): weights {} MiB", info.id, info.detail,
                                impl_->model->weights().bytes(d) >> 20));
  }
  return lines;
}

const std::vector<std::string>& Engine::notes() const {
  return impl_->notes;
}
bool Engine::embeds() const {
  return impl_->session->is_pooled();
}

Result<void> Engine::submit(Request request) {
  const RequestId id = request.id;
  return submit(id, std::move(request));
}

Result<void> Engine::submit(Embed embed) {
  const RequestId id = embed.id;
  return submit(id, std::move(embed));
}

Result<void> Engine::submit(Command command) {
  if (const auto* request = std::get_if<Request>(&command)) {
    return submit(request->id, std::move(command));
  }
  if (const auto* embed = std::get_if<Embed>(&command)) {
    return submit(embed->id, std::move(command));
  }
  if (const auto* stop = std::get_if<Cancel>(&command)) {
    cancel(stop->id);
    return {};
  }
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->inbox.push_back({std::move(command), Clock::now(), nullptr});
  }
  impl_->work.notify_one();
  return {};
}

Result<void> Engine::submit(RequestId id, Command command) {
  // On the caller's thread: a schema that takes its time holds up nobody else.
  std::shared_ptr<CompiledFormat> format;
  if (const auto* request = std::get_if<Request>(&command);
      request != nullptr && FormatCompiler::is_asked_for(*request)) {
    LM_TRY(format, impl_->formats->compile(*request));
  }
  {
    const std::lock_guard lock(impl_->mutex);
    if (id == 0 || impl_->outbox.contains(id)) {
      return fail(ErrorCode::invalid_argument, "request", fmt::format("id {} is 0 or in use", id));
    }
    if (impl_->outbox.size() >= impl_->options.max_queue) {
      return fail(ErrorCode::busy, impl_->model->file().name(),
                  fmt::format("{} requests are waiting already", impl_->outbox.size()),
                  "try again later");
    }
    impl_->outbox.emplace(id, std::deque<Event>());
    impl_->inbox.push_back({std::move(command), Clock::now(), std::move(format)});
  }
  impl_->work.notify_one();
  return {};
}

void Engine::cancel(RequestId id) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->inbox.push_back({Cancel{id}, Clock::now(), nullptr});
    const auto& serving = impl_->in_step;
    // A broken step costs neighbours their recurrent state: then the step, which is short when it
    // is shared, may as well end.
    const bool costs_others = impl_->session->has_state() && serving.size() > 1;
    if (!costs_others && std::find(serving.begin(), serving.end(), id) != serving.end()) {
      impl_->stop = true;
    }
  }
  impl_->work.notify_one();
}

EngineFigures Engine::figures() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->figures;
}

std::optional<Event> Engine::next(RequestId id, std::chrono::milliseconds timeout) {
  std::unique_lock lock(impl_->mutex);
  const auto ready = [&] {
    const auto box = impl_->outbox.find(id);
    return box == impl_->outbox.end() || !box->second.empty();
  };
  if (!impl_->event.wait_for(lock, timeout, ready)) {
    return std::nullopt;
  }
  const auto box = impl_->outbox.find(id);
  if (box == impl_->outbox.end()) {
    return std::nullopt;
  }
  Event e = std::move(box->second.front());
  box->second.pop_front();
  if (e.kind == Event::Kind::done || e.kind == Event::Kind::error) {
    impl_->outbox.erase(box);
  } else {
    impl_->inbox.push_back({Credit{id, 1}, Clock::now(), nullptr});
    lock.unlock();
    impl_->work.notify_one();
  }
  return e;
}

}  // namespace lm
