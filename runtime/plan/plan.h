/// A plan: what one step does, as data. Built once per token bucket, compiled once, replayed.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/backend.h"

namespace lm {

/// Body: tokens to hidden states, for all rows of a step. Head: hidden states of the wanted rows to
/// logits (or an embedding); run once per `max_outputs` wanted rows, so that logits of many rows
/// need no more memory.
struct Plan {
  std::uint32_t max_rows = 0;     ///< token bucket
  std::uint32_t max_outputs = 0;  ///< rows of one run of the head
  std::vector<Segment> body;
  std::vector<Segment> head;
  /// [max_outputs, n_vocab] f32 in the arena of `logits_device`; for embedding models the pooled
  /// vectors [max_outputs, width].
  TensorRef logits;
  std::uint16_t logits_device = 0;
  std::vector<std::uint64_t> arena_bytes;  ///< [device]
  std::vector<std::vector<float>>
      constants;  ///< [device] contents of the constants buffer (rope tables)
};

}  // namespace lm
