/// What a generated token costs beside the device's work.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/engine/session.h"

namespace lm {

/// Seconds a generated token, through the whole engine: its loop thread, sampler, detokenizer,
/// parser of the answer, events and a reader.
struct HostCost {
  std::uint32_t n_token = 0;  ///< generated; the figures are means over them
  double token = 0.0;         ///< from one token to the next
  double device = 0.0;        ///< steps on the device
  double sampling = 0.0;      ///< logits to a token
  double text = 0.0;          ///< token to text and events
  double rest = 0.0;          ///< queue, scheduler, page tables, copies of logits

  double host() const { return sampling + text + rest; }
  double share() const { return token > 0.0 ? host() / token : 0.0; }
};

/// Generates up to `n_token` tokens after a random prompt of 32 with default sampling, no guesses
/// ahead, and after one warm-up. A model that ends its answer sooner gives fewer. Errors: those of
/// Engine::create and of its requests; unsupported for embedding models; missing when not even two
/// tokens came.
Result<HostCost> measure_host_cost(std::shared_ptr<const Model> model,
                                   const SessionOptions& options, std::uint32_t n_token);

}  // namespace lm
