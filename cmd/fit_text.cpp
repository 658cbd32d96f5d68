#include "cmd/fit_text.h"

#include <fmt/format.h>

#include "cmd/format.h"
#include "cmd/table.h"

namespace lm::cmd {
namespace {

DeviceBytes sum_of(const LoadPlan& plan) {
  DeviceBytes sum;
  for (const DeviceBytes& device : plan.bytes) {
    sum.weights += device.weights;
    sum.kv += device.kv;
    sum.spare += device.spare;
    sum.arena += device.arena;
    sum.scratch += device.scratch;
    sum.staging += device.staging;
  }
  return sum;
}

std::string rate(double tok_s) {
  if (tok_s <= 0) {
    return "?";
  }
  return tok_s < 10 ? fmt::format("{:.1f}", tok_s) : fmt::format("{:.0f}", tok_s);
}

std::string context(const FitRow& row) {
  return fmt::format("{}{}", row.plan.n_ctx, row.automatic ? " (auto)" : "");
}

/// "spare" pages and upload buffers are both memory kept ready.
nlohmann::ordered_json bytes_json(const DeviceBytes& bytes) {
  return {{"weights", bytes.weights},
          {"kv", bytes.kv},
          {"activations", bytes.arena + bytes.scratch},
          {"staging", bytes.staging + bytes.spare},
          {"total", bytes.total()}};
}

std::string kv_type_name(DType type) {
  std::string name = layout(type).name;
  for (char& c : name) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return name;
}

}  // namespace

std::string fit_text(const FitResult& fit) {
  std::string text;
  for (std::size_t d = 0; d < fit.devices.devices.size(); ++d) {
    const PlanDevice& device = fit.devices.devices[d];
    text += fmt::format("{}: {}, {} of {} free\n", device.id, device.name,
                        format_bytes(device.free_bytes), format_bytes(device.total_bytes));
  }
  text += "\n";
  std::vector<std::string> header = {"QUANT", "CONTEXT", "WEIGHTS", "KV", "TOTAL"};
  for (const PlanDevice& device : fit.devices.devices) {
    if (fit.devices.devices.size() > 1) {
      header.push_back(device.id);
    }
  }
  header.insert(header.end(), {"PROMPT/S", "TOKENS/S", "VERDICT"});
  Table table(header);
  for (std::size_t i = 0; i < fit.table.rows.size(); ++i) {
    const FitRow& row = fit.table.rows[i];
    const DeviceBytes sum = sum_of(row.plan);
    std::vector<std::string> cells = {row.quant, context(row), format_bytes(sum.weights),
                                      format_bytes(sum.kv), format_bytes(sum.total())};
    for (const DeviceBytes& device : row.plan.bytes) {
      if (fit.devices.devices.size() > 1) {
        cells.push_back(format_bytes(device.total()));
      }
    }
    cells.push_back(rate(row.speed.prompt_tok_s));
    cells.push_back(rate(row.speed.decode_tok_s));
    cells.push_back(row.verdict + (fit.table.recommended == i ? " *" : ""));
    table.add(std::move(cells));
  }
  text += table.text() + "\n";
  if (fit.table.recommended) {
    const FitRow& row = fit.table.rows[*fit.table.recommended];
    text += fmt::format("* recommended: {}: {}\n", row.quant, fit.table.reason);
    for (const std::string& reason : row.plan.reasons) {
      text += fmt::format("  {}\n", reason);
    }
  } else {
    text += fmt::format("{}\n", fit.table.reason);
  }
  for (const std::string& advice : fit.table.advice) {
    text += fmt::format("to change that: {}\n", advice);
  }
  return text;
}

std::string fit_tiers_text(const std::vector<FitResult>& fits) {
  Table table({"MEMORY", "QUANT", "CONTEXT", "WEIGHTS", "KV", "TOTAL", "TOKENS/S", "VERDICT"});
  for (const FitResult& fit : fits) {
    if (!fit.table.recommended) {
      table.add({fit.machine, "-", "-", "-", "-", "-", "-", fit.table.reason});
      continue;
    }
    const FitRow& row = fit.table.rows[*fit.table.recommended];
    const DeviceBytes sum = sum_of(row.plan);
    table.add({fit.machine, row.quant, fmt::format("{}", row.plan.n_ctx), format_bytes(sum.weights),
               format_bytes(sum.kv), format_bytes(sum.total()), rate(row.speed.decode_tok_s),
               row.verdict});
  }
  return table.text();
}

nlohmann::ordered_json fit_json(const std::string& model, const FitResult& fit) {
  nlohmann::ordered_json document{{"model", model},
                                  {"devices", nlohmann::ordered_json::array()},
                                  {"rows", nlohmann::ordered_json::array()}};
  for (const PlanDevice& device : fit.devices.devices) {
    document["devices"].push_back({{"name", device.id},
                                   {"kind", device.is_gpu() ? "gpu" : "cpu"},
                                   {"total", device.total_bytes},
                                   {"free", device.free_bytes}});
  }
  for (const FitRow& row : fit.table.rows) {
    std::string reasons;
    for (const std::string& reason : row.plan.reasons) {
      reasons += (reasons.empty() ? "" : "; ") + reason;
    }
    nlohmann::ordered_json per_device = nlohmann::ordered_json::array();
    for (std::size_t d = 0; d < row.plan.bytes.size(); ++d) {
      nlohmann::ordered_json one{{"name", fit.devices.devices[d].id}};
      one.update(bytes_json(row.plan.bytes[d]));
      per_device.push_back(std::move(one));
    }
    document["rows"].push_back({{"quant", row.quant},
                                {"ctx", row.plan.n_ctx},
                                {"ctx_automatic", row.automatic},
                                {"kv_type", kv_type_name(row.kv_type)},
                                {"bytes", bytes_json(sum_of(row.plan))},
                                {"per_device", std::move(per_device)},
                                {"gpu_layers", row.plan.gpu_layers},
                                {"gpu_expert_layers", row.plan.gpu_expert_layers},
                                {"pp_tok_s", row.speed.prompt_tok_s},
                                {"tg_tok_s", row.speed.decode_tok_s},
                                {"fits", row.plan.fits},
                                {"from_disk", row.plan.from_disk},
                                {"verdict", row.verdict},
                                {"reason", reasons}});
  }
  document["recommended"] = nullptr;
  if (fit.table.recommended) {
    const FitRow& row = fit.table.rows[*fit.table.recommended];
    document["recommended"] = {
        {"quant", row.quant}, {"ctx", row.plan.n_ctx}, {"reason", fit.table.reason}};
  }
  document["advice"] = fit.table.advice;
  return document;
}

}  // namespace lm::cmd
