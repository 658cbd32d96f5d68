/// The rebuildable three: page pool, arena and executables over a model's weights. A new context,
/// KV type, placement or sequence count makes a new Session and never touches the weights.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/op_work.h"
#include "runtime/kv/sequence.h"
#include "runtime/model/model.h"
#include "runtime/plan/placement.h"

namespace lm {

struct SessionOptions {
  std::uint32_t n_ctx = 0;      ///< 0: the largest that fits, at most the trained length
  std::uint32_t n_batch = 512;  ///< rows a step at most
  DType kv_type = DType::f16;
  std::uint32_t n_seq_guaranteed = 1;  ///< sequences of n_ctx that the pool must be able to carry
  /// Sequences of n_ctx that it may grow to where memory carries them: pages are made on demand.
  std::uint32_t n_seq_most = 1;
  Placement placement;  ///< empty: everything on device 0
  bool profile = false;
};

/// One row set of a step: tokens of one sequence that follow each other.
struct BatchItem {
  Sequence* sequence = nullptr;
  std::span<const Token> tokens;  ///< appended to the sequence
  std::span<const float> embd;  ///< [tokens.size(), n_embd]: used instead where a token is kNoToken
  /// Rows of this item whose logits are wanted (0-based).
  std::span<const std::uint32_t> outputs;
};

class Session {
 public:
  /// Plans, checks that it fits in free memory and allocates. Errors: out_of_memory with needed and
  /// free bytes, unsupported.
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<const Model> model,
                                                 const SessionOptions& options);
  ~Session();

  std::uint32_t n_ctx() const;
  std::uint32_t n_batch() const;
  const Model& model() const;
  /// Values in a row of `step`'s result: n_vocab, or the width of an embedding.
  std::uint32_t output_width() const;
  /// Whether `step` gives embeddings (not normalised) instead of logits; then one output a text, of
  /// the row `pooled_row`, and a text is one step where Hparams::needs_whole_text says so.
  bool is_pooled() const;
  std::uint32_t pooled_row(std::uint32_t n_tokens) const;

  /// Recurrent layers: a sequence can't forget its last tokens.
  bool has_state() const;
  /// Whether sequences can't be rolled back far (recurrent state, sliding windows), so that what a
  /// later request may share with this one must be kept as a fork on the way.
  bool needs_checkpoints() const;

  /// A new empty sequence.
  Result<std::unique_ptr<Sequence>> new_sequence();

  /// Runs the items as one ragged step of at most n_batch rows. On success every sequence has grown
  /// by its tokens and `logits` holds one row [output_width] per wanted output, in item order; on
  /// `cancelled` and on errors all sequences are as they were, or empty where they carry recurrent
  /// state. Errors: out_of_memory (no page), device_lost, cancelled, invalid_argument.
  Result<void> step(std::span<const BatchItem> items, const StopFlag& stop,
                    std::vector<float>& logits);

  /// Feeds any number of tokens in steps of n_batch; logits of the last token only (or of all, when
  /// `all`).
  Result<void> evaluate(Sequence& sequence, std::span<const Token> tokens, bool all,
                        const StopFlag& stop, std::vector<float>& logits);

  /// Ops by the kind of executor that runs them ("cpu", "reference"), for one token.
  std::vector<std::pair<std::string, std::uint32_t>> ops_by_executor() const;
  /// Times of the ops that the last step ran, in order; with SessionOptions::profile, else none.
  const std::vector<OpTime>& last_times() const;
  /// What the last step had to read and compute.
  OpWork last_work() const;
  /// Time that devices have worked on steps since the session began, waiting for them included.
  std::uint64_t device_ns() const;
  /// What people should know of this session: weights that do not fit into memory.
  const std::vector<std::string>& notes() const;
  std::uint64_t arena_bytes() const;
  std::uint64_t kv_bytes_allocated() const;

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lm
