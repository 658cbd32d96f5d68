/// Which models are loaded, for how long, and who waits for one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/error.h"
#include "server/models/hold.h"
#include "server/models/model_source.h"
#include "server/runner/runner_words.h"

namespace lm::server {

/// How long a model stays after its last request.
struct KeepFor {
  bool forever = false;
  std::chrono::nanoseconds time = std::chrono::minutes(5);
  bool operator==(const KeepFor&) const = default;
};

struct ModelsOptions {
  std::string program;  ///< the runner; empty: this program
  std::string devices = "auto";
  std::string isa;
  std::uint64_t gpu_overhead = 0;             ///< bytes left free on each GPU
  std::optional<std::uint64_t> memory_limit;  ///< host bytes for all models; none: what there is
  SessionWish session;                        ///< n_ctx 0: automatic
  KeepFor keep_for;
  std::uint32_t max_loaded = 3;
  std::uint32_t max_queue = 512;
  std::chrono::nanoseconds load_timeout = std::chrono::minutes(5);  ///< <= 0: never
  std::function<void(std::string)> log;
};

/// What a request wants of its model. Unset: whatever is loaded, or the default.
struct ModelWish {
  std::optional<std::uint32_t> n_ctx;
  std::optional<std::uint32_t> n_batch;
  std::optional<std::uint32_t> n_threads;  ///< heeded by a load only
  std::optional<std::int32_t> gpu_layers;  ///< heeded by a load only; -1: automatic
  std::optional<KeepFor> keep_for;
};

/// A line of `lm ps`.
struct LoadedRow {
  std::string name;
  std::string id;
  int pid = 0;
  std::string state;  ///< loading, ready, resizing, stopping
  RunnerReady ready;
  RunnerFigures figures;
  std::uint64_t weight_bytes = 0;
  std::uint64_t gpu_bytes = 0;  ///< of the weights
  std::uint32_t active = 0;
  std::uint32_t waiting = 0;
  bool forever = false;
  std::chrono::nanoseconds remaining{0};  ///< until it is unloaded, when idle
};

/// What became of a wait. Errors: busy (queue full), out_of_memory (loads only), cancelled, those
/// of loading.
using OnHold = std::function<void(Result<std::shared_ptr<Hold>>)>;
using Ticket = std::uint64_t;

/// One thread decides everything. Thread-safe.
class Models {
 public:
  explicit Models(ModelsOptions options);
  ~Models();  ///< as `close`
  Models(const Models&) = delete;
  Models& operator=(const Models&) = delete;

  /// Loads the model if need be, waits for its turn, and calls `on_hold` once, on the thread of
  /// Models: hand work on. A larger n_ctx makes a new session once the model is idle; a smaller one
  /// changes nothing.
  Ticket acquire(std::shared_ptr<const ModelSource> source, const ModelWish& wish, OnHold on_hold);
  /// Gives up waiting; `on_hold` is not called any more if it was not yet.
  void abandon(Ticket ticket);
  /// Ends keeping a model: it goes as soon as nobody uses it. False when it isn't loaded.
  bool unload(const std::string& name);
  void unload_all();
  /// Ends every runner; who waits is told `cancelled`, and so is who comes later.
  void close();
  /// The longest-lived first.
  std::vector<LoadedRow> rows() const;
  std::uint32_t waiting() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lm::server
