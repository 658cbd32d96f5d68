/// Where each layer's K and V lie in a page, and its recurrent state in a slot.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/ops.h"
#include "runtime/kv/page_pool.h"
#include "runtime/model/hparams.h"
#include "runtime/plan/placement.h"

namespace lm {

/// Groups and page arithmetic of a model, exact to the byte and known before anything is allocated.
struct KvLayout {
  std::vector<KvGroup> groups;
  std::vector<KvRef> layers;     ///< [n_layer]; n_head_kv 0 where a layer has no KV of its own
  std::vector<StateRef> states;  ///< [n_layer]; the whole state of the layer
  std::vector<std::uint64_t> state_slot_bytes;  ///< [device] recurrent state of one sequence

  /// Bytes of one page over all groups and devices.
  std::uint64_t page_bytes() const;
  std::uint64_t page_bytes(std::uint16_t device) const;
};

/// Errors: invalid_argument when the KV type can't hold the head size.
Result<KvLayout> kv_layout(const Hparams& hparams, const Placement& placement,
                           std::uint16_t n_device, DType kv_type);

}  // namespace lm
