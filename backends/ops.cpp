#include "backends/ops.h"

#include "backends/error.h"

namespace lm {
namespace {

/// Collects the tensors of one op; empty refs (options that are off) are left out.
class Collector {
 public:
  Collector& reads(const TensorRef& t) {
    if (!t.empty()) {
      LM_ASSERT(set.n_reads < AccessSet::kMax, "an op reads too many tensors");
      set.reads[set.n_reads++] = t;
    }
    return *this;
  }
  Collector& writes(const TensorRef& t) {
    if (!t.empty()) {
      LM_ASSERT(set.n_writes < 4, "an op writes too many tensors");
      set.writes[set.n_writes++] = t;
    }
    return *this;
  }
  Collector& uses(std::uint32_t arrays) {
    set.step_arrays |= arrays;
    return *this;
  }
  AccessSet set;
};

AccessSet with_state(AccessSet set, const StateRef& state) {
  set.uses_state = true;
  set.state = state;
  return set;
}

struct Visitor {
  AccessSet operator()(const ops::Embed& o) const {
    Collector c;
    c.reads(o.table).reads(o.positions).reads(o.add).writes(o.out).uses(step_array::token);
    if (o.takes_input) {
      c.uses(step_array::input_embd);
    }
    if (!o.positions.empty()) {
      c.uses(step_array::pos);
    }
    return c.set;
  }
  AccessSet operator()(const ops::Norm& o) const {
    Collector c;
    c.reads(o.x).reads(o.weight).reads(o.bias).writes(o.out);
    if (o.accumulate) {
      c.reads(o.out);
    }
    return c.set;
  }
  AccessSet operator()(const ops::MatMul& o) const {
    Collector c;
    c.reads(o.x).reads(o.weight).reads(o.bias).writes(o.out);
    if (o.accumulate) {
      c.reads(o.out);
    }
    return c.set;
  }
  AccessSet operator()(const ops::QkvMatMul& o) const {
    return Collector()
        .reads(o.x)
        .reads(o.wq)
        .reads(o.wk)
        .reads(o.wv)
        .reads(o.bq)
        .reads(o.bk)
        .reads(o.bv)
        .writes(o.q)
        .writes(o.k)
        .writes(o.v)
        .set;
  }
  AccessSet operator()(const ops::HeadMatMul& o) const {
    return Collector().reads(o.x).reads(o.weight).writes(o.out).set;
  }
  /// Columns of `out` that are not copied stay: it counts as read too.
  AccessSet operator()(const ops::CopyCols& o) const {
    return Collector().reads(o.x).reads(o.out).writes(o.out).set;
  }
  AccessSet operator()(const ops::RopeKvWrite& o) const {
    Collector c;
    c.reads(o.q).reads(o.k).reads(o.v).reads(o.q_norm).reads(o.k_norm).reads(o.inv_freq);
    c.writes(o.q).writes(o.k).writes(o.v).uses(step_array::pos);
    if (!o.k.empty()) {
      c.uses(step_array::row_seq | step_array::row_kv | step_array::pages);
      c.set.writes_kv = true;
    }
    c.set.kv = o.kv;
    return c.set;
  }
  AccessSet operator()(const ops::Attention& o) const {
    AccessSet s = Collector()
                      .reads(o.q)
                      .reads(o.sinks)
                      .reads(o.slopes)
                      .writes(o.out)
                      .uses(step_array::row_seq | step_array::row_kv | step_array::seq_row |
                            step_array::kv_len | step_array::pages)
                      .set;
    s.reads_kv = true;
    s.kv = o.kv;
    return s;
  }
  AccessSet operator()(const ops::GatedFfn& o) const {
    return Collector()
        .reads(o.x)
        .reads(o.w_gate)
        .reads(o.w_up)
        .reads(o.b_gate)
        .reads(o.b_up)
        .writes(o.out)
        .set;
  }
  AccessSet operator()(const ops::MoeRoute& o) const {
    return Collector()
        .reads(o.logits)
        .reads(o.bias)
        .reads(o.expert_scale)
        .writes(o.ids)
        .writes(o.weights)
        .set;
  }
  AccessSet operator()(const ops::MoeFfn& o) const {
    Collector c;
    c.reads(o.x).reads(o.ids).reads(o.weights).reads(o.w_gate).reads(o.w_up).reads(o.w_down);
    c.reads(o.b_gate).reads(o.b_up).reads(o.b_down).writes(o.out);
    if (o.accumulate) {
      c.reads(o.out);
    }
    return c.set;
  }
  AccessSet operator()(const ops::CausalConv& o) const {
    return with_state(Collector()
                          .reads(o.x)
                          .reads(o.weight)
                          .writes(o.out)
                          .uses(step_array::seq_row | step_array::state_slot)
                          .set,
                      o.state);
  }
  AccessSet operator()(const ops::DeltaNet& o) const {
    return with_state(Collector()
                          .reads(o.qkv)
                          .reads(o.alpha)
                          .reads(o.beta)
                          .reads(o.dt_bias)
                          .reads(o.a)
                          .writes(o.out)
                          .uses(step_array::seq_row | step_array::state_slot)
                          .set,
                      o.state);
  }
  AccessSet operator()(const ops::MeanRows& o) const {
    return Collector()
        .reads(o.x)
        .writes(o.out)
        .uses(step_array::out_row | step_array::row_seq | step_array::seq_row)
        .set;
  }
  AccessSet operator()(const ops::GatherRows& o) const {
    return Collector().reads(o.x).writes(o.out).uses(step_array::out_row).set;
  }
  AccessSet operator()(const ops::Logits& o) const {
    return Collector().reads(o.x).reads(o.weight).reads(o.bias).writes(o.out).set;
  }
  AccessSet operator()(const ops::Add& o) const {
    return Collector().reads(o.a).reads(o.b).writes(o.out).set;
  }
  AccessSet operator()(const ops::Mul& o) const {
    return Collector().reads(o.a).reads(o.b).writes(o.out).set;
  }
  AccessSet operator()(const ops::Scale& o) const {
    return Collector().reads(o.x).writes(o.out).set;
  }
  /// The source lies on another device: only the write concerns this one.
  AccessSet operator()(const ops::Copy& o) const { return Collector().writes(o.dst).set; }
};

struct Namer {
  const char* operator()(const ops::Embed&) const { return "embed"; }
  const char* operator()(const ops::Norm&) const { return "norm"; }
  const char* operator()(const ops::MatMul&) const { return "matmul"; }
  const char* operator()(const ops::QkvMatMul&) const { return "qkv_matmul"; }
  const char* operator()(const ops::HeadMatMul&) const { return "head_matmul"; }
  const char* operator()(const ops::CopyCols&) const { return "copy_cols"; }
  const char* operator()(const ops::RopeKvWrite&) const { return "rope_kv_write"; }
  const char* operator()(const ops::Attention&) const { return "attention"; }
  const char* operator()(const ops::GatedFfn&) const { return "gated_ffn"; }
  const char* operator()(const ops::MoeRoute&) const { return "moe_route"; }
  const char* operator()(const ops::MoeFfn&) const { return "moe_ffn"; }
  const char* operator()(const ops::CausalConv&) const { return "causal_conv"; }
  const char* operator()(const ops::DeltaNet&) const { return "delta_net"; }
  const char* operator()(const ops::MeanRows&) const { return "mean_rows"; }
  const char* operator()(const ops::GatherRows&) const { return "gather_rows"; }
  const char* operator()(const ops::Logits&) const { return "logits"; }
  const char* operator()(const ops::Add&) const { return "add"; }
  const char* operator()(const ops::Mul&) const { return "mul"; }
  const char* operator()(const ops::Scale&) const { return "scale"; }
  const char* operator()(const ops::Copy&) const { return "copy"; }
};

}  // namespace

AccessSet access(const Op& op) {
  return std::visit(Visitor{}, op);
}
const char* op_name(const Op& op) {
  return std::visit(Namer{}, op);
}

}  // namespace lm
