/// The loop that serves requests with one model: requests in, events out.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "runtime/engine/messages.h"
#include "runtime/engine/session.h"
#include "runtime/model/model.h"

namespace lm {

/// Requests that are served at once; more wait in the queue. Each costs pages only as it grows.
inline constexpr std::size_t kMaxActiveRequests = 64;

struct EngineOptions {
  SessionOptions session;
  std::uint32_t max_queue = 512;  ///< requests waiting; beyond: busy
  /// Guesses ahead for decoding requests, with the same vocabulary. Null: none.
  std::shared_ptr<const Model> draft_model;
  std::uint32_t draft_tokens = 4;  ///< a step, where a request does not choose itself
  /// Without a draft model: guess what followed the same words before in the text, where that turns
  /// out right.
  bool prompt_lookup = true;
  /// Takes every event, on the loop's thread, instead of `next`. Then credit is granted by `Credit`
  /// commands alone: the carrier is the caller.
  std::function<void(Event)> sink = {};
};

/// What an engine holds and does at the moment of the call.
struct EngineFigures {
  std::uint64_t kv_bytes = 0;    ///< pages and states, on all devices
  std::uint64_t work_bytes = 0;  ///< arenas of the session
  std::uint32_t active = 0;      ///< requests being served
  std::uint32_t waiting = 0;     ///< requests in the queue
};

/// Owns one loop thread. Commands and events are values; this class is their in-process carrier: it
/// grants credit for each event taken, so a reader that stops reading pauses only its own request.
class Engine {
 public:
  /// Starts the loop. `model` is kept alive by running requests.
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const Model> model,
                                                const EngineOptions& options);
  ~Engine();  ///< cancels what runs and joins the loop

  const Model& model() const;
  /// Context a single sequence may grow to.
  std::uint32_t n_ctx() const;
  /// One line a device: what went where.
  std::vector<std::string> placement_lines() const;

  /// What of the options does not apply to this model, and why; for people.
  const std::vector<std::string>& notes() const;
  /// Whether the model gives embeddings (`Embed`) instead of text (`Request`).
  bool embeds() const;

  /// Queues a request; its id must be new and not 0. Errors: busy, invalid_argument. Thread-safe.
  Result<void> submit(Request request);
  Result<void> submit(Embed embed);
  /// Any of the above by the words that also cross sockets: Cancel and Credit never fail.
  Result<void> submit(Command command);
  /// Thread-safe; unknown ids are ignored.
  void cancel(RequestId id);
  /// Next event of a request, or none within the timeout. Thread-safe, one reader a request.
  std::optional<Event> next(RequestId id, std::chrono::milliseconds timeout);
  /// Thread-safe.
  EngineFigures figures() const;

 private:
  struct Impl;
  Result<void> submit(RequestId id, Command command);
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lm
