#include "runtime/kv/kv_layout.h"

#include <fmt/core.h>

namespace lm {

std::uint64_t KvLayout::page_bytes(std::uint16_t device) const {
  std::uint64_t bytes = 0;
  for (const KvGroup& group : groups) {
    bytes += group.page_bytes[device];
  }
  return bytes;
}

std::uint64_t KvLayout::page_bytes() const {
  std::uint64_t bytes = 0;
  for (const KvGroup& group : groups) {
    for (const std::uint64_t device_bytes : group.page_bytes) {
      bytes += device_bytes;
    }
  }
  return bytes;
}

namespace {

Result<void> check_head(const LayerParams& p, const BlockLayout& type) {
  if (p.head_dim_k % type.block_elems == 0 && p.head_dim_v % type.block_elems == 0) {
    return {};
  }
  return fail(ErrorCode::invalid_argument, "--kv-type",
              fmt::format("{} holds blocks of {} values, the heads of this model have {}",
                          type.name, type.block_elems, p.head_dim_k),
              "use f16");
}

/// The group of layers that see as far as this one.
std::uint32_t group_of(KvLayout& layout, std::uint32_t window, std::uint16_t n_device) {
  std::uint32_t g = 0;
  while (g < layout.groups.size() && layout.groups[g].window != window) {
    ++g;
  }
  if (g == layout.groups.size()) {
    layout.groups.push_back({window, std::vector<std::uint64_t>(n_device, 0)});
  }
  return g;
}

}  // namespace

Result<KvLayout> kv_layout(const Hparams& hparams, const Placement& placement,
                           std::uint16_t n_device, DType kv_type) {
  const BlockLayout& type = layout(kv_type);
  KvLayout result;
  result.layers.resize(hparams.n_layer);
  result.states.resize(hparams.n_layer);
  result.state_slot_bytes.resize(n_device);
  for (std::uint32_t layer = 0; layer < hparams.n_layer; ++layer) {
    const LayerParams& p = hparams.layers[layer];
    const std::uint16_t device = placement.of(layer, Part::attention);
    std::uint64_t& state_at = result.state_slot_bytes[device];
    result.states[layer] = {0, state_at, p.state_bytes};
    state_at += p.state_bytes;
    if (p.n_head_kv == 0 || p.kv_source >= 0) {
      continue;
    }
    LM_CHECK(check_head(p, type));
    KvRef& kv = result.layers[layer];
    // Without a causal order nothing falls behind a window for good: it bounds what attention
    // reads, not what is kept.
    kv.group = group_of(result, hparams.causal ? p.window : 0, n_device);
    std::uint64_t& at = result.groups[kv.group].page_bytes[device];
    kv.dtype = kv_type;
    kv.n_head_kv = p.n_head_kv;
    kv.head_dim_k = p.head_dim_k;
    kv.head_dim_v = p.head_dim_v;
    kv.v_in_k = p.v_in_k;
    kv.k_offset = at;
    kv.v_offset = at + kv.k_tile_bytes() * kv.n_head_kv;
    at = kv.v_offset + kv.v_tile_bytes() * kv.n_head_kv;
  }
  for (std::uint32_t layer = 0; layer < hparams.n_layer; ++layer) {
    const std::uint16_t device = placement.of(layer, Part::attention);
    result.states[layer].slot_bytes = result.state_slot_bytes[device];
    KvRef& kv = result.layers[layer];
    if (kv.n_head_kv > 0) {
      kv.page_bytes = result.groups[kv.group].page_bytes[device];
    }
  }
  if (result.groups.empty()) {
    // A model of recurrent layers alone still counts its tokens in pages, of no bytes.
    result.groups.push_back({0, std::vector<std::uint64_t>(n_device, 0)});
  }
  return result;
}

}  // namespace lm
