#include "cmd/machine.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/discover.h"
#include "cmd/local_store.h"
#include "cmd/settings.h"
#include "runtime/plan/calibration.h"

namespace lm::cmd {
namespace {

/// Rates of a device, from the store where they are known. A store that can't be written only costs
/// the time of measuring.
Result<DeviceSpeed> speed_of(Backend& device, Rates rates) {
  const DeviceInfo info = device.info();
  const std::string key = fmt::format("calibration 2 {} {} {}", info.id, info.name, info.detail);
  auto store = LocalStore::open(LocalStore::Use::look);
  if (store && rates == Rates::known) {
    if (const auto text = (*store)->value(key); text && *text) {
      if (auto speed = speed_from_text(**text)) {
        return *speed;
      }
    }
  }
  LM_TRY(DeviceSpeed speed, calibrate(device));
  if (auto writable = LocalStore::open(LocalStore::Use::change)) {
    [[maybe_unused]] const auto kept = (*writable)->set_value(key, to_text(speed));
  }
  return speed;
}

/// What cards with so much memory usually read and multiply, of which kernels reach about 60 %.
/// Source: the makers' data sheets of common cards.
struct CardClass {
  std::uint64_t vram_gb;
  double gb_s, tflop_s;
};
constexpr std::array<CardClass, 6> kCards = {
    {{6, 190, 20}, {8, 270, 30}, {12, 360, 45}, {16, 450, 60}, {24, 900, 120}, {48, 900, 150}}};

DeviceSpeed assumed_speed(std::uint64_t vram) {
  const CardClass* card = kCards.data();
  for (const CardClass& known : kCards) {
    card = vram >= known.vram_gb * 1'000'000'000 ? &known : card;
  }
  DeviceSpeed speed;
  constexpr double kReached = 0.6;
  for (const DType type : calibrated_types()) {
    speed.types[type] = {.decode_gb_s = kReached * card->gb_s,
                         .prompt_gflop_s = 0.5 * kReached * card->tflop_s * 1e3};
  }
  speed.kv_gb_s = kReached * card->gb_s;
  speed.f32_gflop_s = 0.2 * card->tflop_s * 1e3;
  speed.op_us = 3;
  return speed;
}

}  // namespace

Result<Machine> this_machine(Rates rates) {
  Machine machine;
  DiscoverOptions options;
  LM_TRY(options.cpu.isa_limit, isa_setting());
  const Discovery found = discover(options);
  for (const ModuleStatus& module : found.modules) {
    if (module.loaded) {
      machine.notes.push_back(fmt::format("{}: {}", module.name, module.status));
    }
  }
  std::vector<std::string> ids;
  for (const DeviceInfo& info : found.devices) {
    if (info.kind == DeviceKind::cuda || info.kind == DeviceKind::vulkan) {
      ids.push_back(info.id);
    }
  }
  ids.emplace_back("cpu");
  for (const std::string& id : ids) {
    auto backend = open_backend(id, options);
    if (!backend && id != "cpu") {
      machine.notes.push_back(fmt::format("{}: {}", id, backend.error().problem));
      continue;
    }
    if (!backend) {
      return std::unexpected(Failure(backend.error()));
    }
    machine.open.push_back(std::move(*backend));
    machine.devices.push_back(plan_device(machine.open.back()));
    LM_TRY(DeviceSpeed speed, speed_of(*machine.open.back(), rates));
    machine.speeds.push_back(std::move(speed));
  }
  return machine;
}

Result<Machine> other_machine(std::optional<std::uint64_t> vram, std::optional<std::uint64_t> ram) {
  LM_TRY(Machine here, this_machine());
  Machine machine;
  machine.open = std::move(here.open);
  if (vram && *vram > 0) {
    machine.devices.push_back({.id = "gpu",
                               .name = "a card",
                               .kind = DeviceKind::vulkan,
                               .total_bytes = *vram,
                               .free_bytes = *vram,
                               .scratch = {}});
    machine.speeds.push_back(assumed_speed(*vram));
    machine.notes.emplace_back("speeds of the card are those of usual cards with its memory");
  } else if (!vram) {
    machine.devices.assign(here.devices.begin(), here.devices.end() - 1);
    machine.speeds.assign(here.speeds.begin(), here.speeds.end() - 1);
  }
  machine.devices.push_back(here.devices.back());
  machine.speeds.push_back(here.speeds.back());
  if (ram) {
    machine.devices.back().total_bytes = *ram;
    machine.devices.back().free_bytes = *ram;
  }
  return machine;
}

}  // namespace lm::cmd
