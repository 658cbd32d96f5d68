// lm devices: what a model can run on, and how much room is there.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "backends/discover.h"
#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/format.h"
#include "cmd/machine.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/settings.h"
#include "cmd/table.h"

namespace lm::cmd {
namespace {

std::string kind_name(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::cuda:
      return "cuda";
    case DeviceKind::vulkan:
      return "vulkan";
    case DeviceKind::cpu:
    case DeviceKind::reference:
      break;
  }
  return "cpu";
}

/// Bytes a second of the type that most files are made of; 0: not measured.
double bandwidth(const DeviceSpeed& speed) {
  double best = 0;
  for (const auto& [type, rate] : speed.types) {
    best = std::max(best, rate.decode_gb_s);
  }
  return best;
}

}  // namespace

Result<ExitCode> devices_command(CommandLine& line) {
  Arguments arguments(line);
  bool measure = false;
  arguments.flag("--measure", measure, "measure the speed of every device again");
  arguments.flag("--json", line.json, "print JSON");
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  DiscoverOptions options;
  LM_TRY(options.cpu.isa_limit, isa_setting());
  const Discovery found = discover(options);
  LM_TRY(const Machine machine, this_machine(measure ? Rates::fresh : Rates::known));
  nlohmann::ordered_json document{{"devices", nlohmann::ordered_json::array()},
                                  {"modules", nlohmann::ordered_json::array()}};
  Table table({"ID", "NAME", "FREE", "TOTAL", "FROM", "GB/S", "DETAIL"});
  for (std::size_t d = 0; d < machine.open.size(); ++d) {
    const DeviceInfo info = machine.open[d]->info();
    const double gb_s = bandwidth(machine.speeds[d]);
    table.add({info.id, info.name, format_bytes(info.free_bytes), format_bytes(info.total_bytes),
               info.memory_source, gb_s > 0 ? fmt::format("{:.1f}", gb_s) : "?", info.detail});
    document["devices"].push_back({{"id", info.id},
                                   {"name", info.name},
                                   {"kind", kind_name(info.kind)},
                                   {"total", info.total_bytes},
                                   {"free", info.free_bytes},
                                   {"memory_source", info.memory_source},
                                   {"detail", info.detail},
                                   {"uuid", info.uuid},
                                   {"pci", info.pci},
                                   {"unified", info.unified},
                                   {"gb_s", gb_s}});
  }
  for (const ModuleStatus& module : found.modules) {
    document["modules"].push_back(
        {{"name", module.name}, {"loaded", module.loaded}, {"status", module.status}});
  }
  if (line.json) {
    print(dump_json(document) + "\n");
    return ExitCode::ok;
  }
  print(table.text());
  for (const ModuleStatus& module : found.modules) {
    print_note(fmt::format("{}: {}", module.name, module.status));
  }
  return ExitCode::ok;
}

}  // namespace lm::cmd
