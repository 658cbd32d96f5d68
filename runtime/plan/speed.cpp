#include "runtime/plan/speed.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lm {
namespace {

constexpr double kPromptRows = 512;
/// Norms, projections, rope, attention, FFN and residuals of a usual layer.
constexpr double kOpsPerLayer = 9;

double bits_a_weight(DType type) {
  const BlockLayout& l = layout(type);
  return 8.0 * l.block_bytes / l.block_elems;
}

const TypeRate* rate_of(const DeviceSpeed& speed, DType type) {
  if (const auto found = speed.types.find(type); found != speed.types.end()) {
    return &found->second;
  }
  const TypeRate* nearest = nullptr;
  double least = 1e9;
  for (const auto& [known, rate] : speed.types) {
    const double distance = std::abs(bits_a_weight(known) - bits_a_weight(type));
    if (distance < least) {
      least = distance;
      nearest = &rate;
    }
  }
  return nearest;
}

/// Vectors cost nothing beside the matrices, and are not products.
bool is_product(const TensorUse& use) {
  return use.role != Role::embedding && use.tensor->n_dims > 1;
}

double weights_of(const GgufTensor& tensor) {
  return static_cast<double>(tensor.ne[0]) * static_cast<double>(tensor.rows());
}

}  // namespace

double decode_bytes(const ModelShape& shape) {
  double bytes = 0;
  for (const TensorUse& use : shape.uses()) {
    bytes += is_product(use) ? static_cast<double>(use.tensor->bytes) * use.read_share : 0.0;
  }
  return bytes;
}

SpeedEstimate estimate_speed(const ModelShape& shape, const LoadPlan& plan,
                             std::span<const DeviceSpeed> devices, std::uint32_t n_past) {
  double decode_s = 0, prompt_s = 0;
  const Hparams& h = shape.hparams();
  for (const TensorUse& use : shape.uses()) {
    if (!is_product(use)) {
      continue;
    }
    const std::uint16_t device = ModelShape::device_of(use, plan.placement);
    const TypeRate* rate = rate_of(devices[device], use.tensor->dtype);
    if (rate == nullptr || rate->decode_gb_s <= 0 || rate->prompt_gflop_s <= 0) {
      return {};
    }
    const double bytes = static_cast<double>(use.tensor->bytes) * use.read_share;
    decode_s += bytes / (rate->decode_gb_s * 1e9);
    // Of a prompt only the last row reaches the output matrix.
    prompt_s += use.role == Role::output ? bytes / (rate->decode_gb_s * 1e9)
                                         : 2 * weights_of(*use.tensor) * use.read_share *
                                               kPromptRows / (rate->prompt_gflop_s * 1e9);
  }
  for (std::uint32_t il = 0; il < h.n_layer; ++il) {
    const DeviceSpeed& device = devices[plan.placement.of(il, Part::attention)];
    const LayerParams& p = h.layers[il];
    if (device.kv_gb_s <= 0 || device.f32_gflop_s <= 0 || p.n_head_kv == 0) {
      continue;
    }
    const double seen = p.window > 0 ? std::min(n_past, p.window) : n_past;
    const double row = p.n_head_kv * (p.head_dim_k + (p.v_in_k ? 0.0 : p.head_dim_v));
    decode_s += 2.0 * seen * row / (device.kv_gb_s * 1e9);
    const double keys = kPromptRows / 2;
    prompt_s += 2.0 * p.n_head * (p.head_dim_k + p.head_dim_v) * keys * kPromptRows /
                (device.f32_gflop_s * 1e9);
  }
  for (std::uint32_t il = 0; il < h.n_layer; ++il) {
    const double ops_s =
        kOpsPerLayer * devices[plan.placement.of(il, Part::attention)].op_us * 1e-6;
    decode_s += ops_s;
    prompt_s += ops_s;
  }
  const DeviceSpeed& host = devices.back();
  if (plan.from_disk && host.disk_gb_s > 0) {
    const DeviceBytes& need = plan.bytes.back();
    const double missing =
        static_cast<double>(need.total()) - static_cast<double>(plan.budget.back());
    const double share = std::clamp(missing / static_cast<double>(need.weights), 0.0, 1.0);
    // The least recently used page goes first, and the next pass wants just that one: once a part
    // is missing, all of it is read again.
    const double read = share > 0 ? static_cast<double>(need.weights) / (host.disk_gb_s * 1e9) : 0;
    decode_s += read;
    prompt_s += read;
  }
  return {.prompt_tok_s = prompt_s > 0 ? kPromptRows / prompt_s : 0,
          .decode_tok_s = decode_s > 0 ? 1 / decode_s : 0};
}

std::string to_text(const DeviceSpeed& speed) {
  nlohmann::ordered_json types = nlohmann::ordered_json::object();
  for (const auto& [type, rate] : speed.types) {
    types[layout(type).name] = {rate.decode_gb_s, rate.prompt_gflop_s};
  }
  return nlohmann::ordered_json{{"types", std::move(types)},
                                {"kv_gb_s", speed.kv_gb_s},
                                {"f32_gflop_s", speed.f32_gflop_s},
                                {"op_us", speed.op_us},
                                {"disk_gb_s", speed.disk_gb_s}}
      .dump();
}

Result<DeviceSpeed> speed_from_text(std::string_view text) {
  const auto bad = [] {
    return fail(ErrorCode::bad_value, "calibration", "is not one that this lm has written",
                "delete it; it is measured again");
  };
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("types") || !json["types"].is_object()) {
    return bad();
  }
  DeviceSpeed speed;
  for (const auto& [name, rates] : json["types"].items()) {
    const BlockLayout* type = find_layout_by_name(name.data(), name.size());
    if (type == nullptr || !rates.is_array() || rates.size() != 2 || !rates[0].is_number() ||
        !rates[1].is_number()) {
      return bad();
    }
    speed.types[type->dtype] = {rates[0].get<double>(), rates[1].get<double>()};
  }
  for (const auto& [key, value] : {std::pair{"kv_gb_s", &speed.kv_gb_s},
                                   {"f32_gflop_s", &speed.f32_gflop_s},
                                   {"op_us", &speed.op_us},
                                   {"disk_gb_s", &speed.disk_gb_s}}) {
    if (!json.contains(key) || !json[key].is_number()) {
      return bad();
    }
    *value = json[key].get<double>();
  }
  return speed;
}

}  // namespace lm
