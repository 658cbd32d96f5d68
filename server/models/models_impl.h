/// The inside of Models. Everything but the inbox belongs to its thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>

#include "server/models/models.h"

namespace lm::server {

using Clock = std::chrono::steady_clock;

struct Waiter {
  Ticket ticket = 0;
  std::shared_ptr<const ModelSource> source;
  ModelWish wish;
  OnHold on_hold;
  Clock::time_point since;
  bool waited_for_load = false;
};

/// A model that is loaded or being loaded.
struct Entry {
  enum class State { loading, ready, resizing };
  std::shared_ptr<LoadedModel> model;
  State state = State::loading;
  SessionWish session;
  std::deque<Waiter> waiting;
  std::uint32_t active = 0;
  KeepFor keep;
  bool leaving = false;  ///< to be unloaded as soon as nobody uses it
  Clock::time_point expires;
  Clock::time_point began, last_progress;

  bool idle() const { return state == State::ready && active == 0 && waiting.empty(); }
};

/// What other threads say. Outlives Models where holds do.
struct Inbox {
  std::mutex mutex;  // guards the two below
  std::condition_variable filled;
  std::deque<std::function<void()>> messages;
  bool closed = false;

  bool post(std::function<void()> message);
};

struct Models::Impl {
  ModelsOptions options;
  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
  std::atomic<std::uint32_t> n_waiting{0};
  std::atomic<Ticket> next_ticket{1};
  std::list<std::unique_ptr<Entry>> entries;
  std::deque<Waiter> unplaced;  ///< their models are not loaded, first come first
  std::uint64_t next_serial = 1;
  std::thread thread;

  void loop();
  Clock::time_point on_time();

  void add(Waiter waiter);
  void drop(Ticket ticket);
  void place();
  bool make_room(const ModelSource& source, bool must);
  Entry* find(const std::string& name, const std::string& id);
  Entry* find(std::uint64_t serial);
  void start(Waiter first);
  void remove(Entry* entry);
  void pump(Entry& entry);
  bool needs_session(const Entry& entry, const ModelWish& wish) const;
  void grant(Entry& entry, Waiter waiter);
  void refuse(Waiter& waiter, Error error);
  void released(const std::shared_ptr<LoadedModel>& model);
  void became_ready(std::uint64_t serial);
  void failed(std::uint64_t serial, const Error& error);
  void ended(std::uint64_t serial, const std::string& how);
  std::vector<LoadedRow> rows() const;
  void log(const std::string& line) const;
};

}  // namespace lm::server
