/// The shared decoder: blocks of norm, attention, norm, FFN, as ops.
#pragma once

#include <span>

#include "runtime/kv/kv_layout.h"
#include "runtime/model/architecture.h"
#include "runtime/model/rope_table.h"
#include "runtime/plan/plan_builder.h"

namespace lm {

/// Everything a plan is built from. The weights hold the tensors that `decoder_tensors` lists.
struct DecoderInputs {
  const Hparams& hparams;
  const Architecture& architecture;
  const Weights& weights;
  const Placement& placement;
  const KvLayout& kv;
  const RopeTable& rope;
  std::uint16_t n_device = 1;
};

Plan build_decoder_plan(const DecoderInputs& in, std::uint32_t max_rows, std::uint32_t max_outputs);

}  // namespace lm
