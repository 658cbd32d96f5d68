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

Result<KvLayout> kv_layout(const Hparams& hparams, const Architecture& architecture,
                           const Placement& placement, std::uint16_t n_device, DType kv_type) {
  const BlockLayout& type = layout(kv_type);
  if (hparams.head_dim_k % type.block_elems != 0 || hparams.head_dim_v % type.block_elems != 0) {
    return fail(ErrorCode::invalid_argument, "--kv-type",
                fmt::format("{} holds blocks of {} values, the heads of this model have {}",
                            type.name, type.block_elems, hparams.head_dim_k),
                "use f16");
  }
  KvLayout result;
  result.layers.resize(hparams.n_layer);
  for (std::uint32_t layer = 0; layer < hparams.n_layer; ++layer) {
    const std::uint32_t window = architecture.block(hparams, layer).window;
    std::uint32_t g = 0;
    while (g < result.groups.size() && result.groups[g].window != window) {
      ++g;
    }
    if (g == result.groups.size()) {
      result.groups.push_back({window, std::vector<std::uint64_t>(n_device, 0)});
    }
    std::uint64_t& at = result.groups[g].page_bytes[placement.of(layer, Part::attention)];
    KvRef& kv = result.layers[layer];
    kv.group = g;
    kv.dtype = kv_type;
    kv.n_head_kv = hparams.n_head_kv;
    kv.head_dim_k = hparams.head_dim_k;
    kv.head_dim_v = hparams.head_dim_v;
    kv.k_offset = at;
    kv.v_offset = at + kv.k_tile_bytes() * kv.n_head_kv;
    at = kv.v_offset + kv.v_tile_bytes() * kv.n_head_kv;
  }
  for (std::uint32_t layer = 0; layer < hparams.n_layer; ++layer) {
    KvRef& kv = result.layers[layer];
    kv.page_bytes = result.groups[kv.group].page_bytes[placement.of(layer, Part::attention)];
  }
  return result;
}

}  // namespace lm
