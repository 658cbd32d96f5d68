#include "cmd/bench_report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/output.h"
#include "cmd/table.h"

namespace lm::cmd {
namespace {

constexpr double kGiga = 1e9;
constexpr double kMicro = 1e6;

double rounded(double value, double steps = 100) {
  return std::round(value * steps) / steps;
}

/// Four significant digits: shares and times of all sizes.
double significant(double value) {
  if (value == 0.0 || !std::isfinite(value)) {
    return 0.0;
  }
  const double steps = std::pow(10.0, 3 - std::floor(std::log10(std::abs(value))));
  return std::round(value * steps) / steps;
}

double rate(double amount, double seconds) {
  return seconds > 0.0 ? amount / seconds : 0.0;
}

std::optional<double> memory_share(const BenchRow& row, const std::optional<Roofs>& roofs) {
  const double best = roofs ? std::max(roofs->read_1, roofs->read_8) : 0.0;
  return best > 0.0 ? std::optional(rate(row.work.bytes(), row.seconds) / best) : std::nullopt;
}

/// Time that the products would take at the roofs, over the time they took.
std::optional<double> compute_share(const BenchRow& row, const std::optional<Roofs>& roofs) {
  if (!roofs || roofs->int8_ops <= 0.0 || roofs->f32_flops <= 0.0) {
    return std::nullopt;
  }
  const double best =
      row.work.quant_flops / roofs->int8_ops + row.work.float_flops / roofs->f32_flops;
  return rate(best, row.seconds);
}

std::string percent(const std::optional<double>& share) {
  return share ? fmt::format("{:.1f}%", *share * 100) : "-";
}

/// What a step takes beside ops and sampling: arrays of the batch, pages, copies of logits.
double rest_seconds(const BenchRow& row) {
  double rest = row.seconds - row.sampling_seconds;
  for (const OpShare& op : row.ops) {
    rest -= op.seconds;
  }
  return rest;
}

nlohmann::ordered_json ops_json(const BenchRow& row) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  const auto add = [&](const std::string& name, double calls, double seconds, double bytes) {
    list.push_back({{"op", name},
                    {"calls", rounded(calls)},
                    {"us", significant(seconds / row.n_step * kMicro)},
                    {"share", significant(rate(seconds, row.seconds))},
                    {"gb_s", rounded(rate(bytes, seconds) / kGiga)}});
  };
  for (const OpShare& op : row.ops) {
    add(op.name, static_cast<double>(op.calls) / row.n_step, op.seconds, op.bytes);
  }
  add("sampling", 1, row.sampling_seconds, 0);
  add("rest", 1, rest_seconds(row), 0);
  return list;
}

nlohmann::ordered_json roofs_json(const Roofs& roofs) {
  return {{"read_1_gb_s", rounded(roofs.read_1 / kGiga)},
          {"read_8_gb_s", rounded(roofs.read_8 / kGiga)},
          {"int8_gop_s", rounded(roofs.int8_ops / kGiga)},
          {"f32_gflop_s", rounded(roofs.f32_flops / kGiga)},
          {"threads", roofs.n_thread},
          {"isa", roofs.isa}};
}

nlohmann::ordered_json host_json(const HostCost& host) {
  return {{"share", significant(host.share())},
          {"tokens", host.n_token},
          {"token_us", significant(host.token * kMicro)},
          {"sampling_us", significant(host.sampling * kMicro)},
          {"text_us", significant(host.text * kMicro)},
          {"rest_us", significant(host.rest * kMicro)}};
}

void print_json(const std::vector<BenchRow>& rows, const std::optional<Roofs>& roofs, bool ops) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const BenchRow& row : rows) {
    nlohmann::ordered_json object = {
        {"test", row.test},
        {"tok_s", rounded(row.tok_s)},
        {"p10", rounded(row.p10)},
        {"p90", rounded(row.p90)},
        {"gb_s", rounded(rate(row.work.bytes(), row.seconds) / kGiga)},
        {"gflop_s", rounded(rate(row.work.flops(), row.seconds) / kGiga)}};
    if (const auto share = memory_share(row, roofs)) {
      object["memory_share"] = significant(*share);
    }
    if (const auto share = compute_share(row, roofs)) {
      object["compute_share"] = significant(*share);
    }
    object["steps"] = row.n_step;
    object["step_us"] = significant(row.seconds / row.n_step * kMicro);
    if (!row.logits_hash.empty()) {
      object["logits_sha256"] = row.logits_hash;
    }
    if (row.nmse) {
      object["reference_nmse"] = *row.nmse;
    }
    if (ops) {
      object["ops"] = ops_json(row);
    }
    if (row.host) {
      object["host"] = host_json(*row.host);
    }
    if (roofs) {
      object["roofs"] = roofs_json(*roofs);
    }
    list.push_back(std::move(object));
  }
  print(list.dump() + "\n");
}

std::string ops_table(const BenchRow& row) {
  Table table({"OP", "CALLS", "US/STEP", "SHARE", "GB/S"});
  const auto add = [&](const std::string& name, double calls, double seconds, double bytes) {
    table.add({name, fmt::format("{:.4g}", calls),
               fmt::format("{:.1f}", seconds / row.n_step * kMicro),
               percent(rate(seconds, row.seconds)),
               bytes > 0 ? fmt::format("{:.2f}", rate(bytes, seconds) / kGiga) : "-"});
  };
  for (const OpShare& op : row.ops) {
    add(op.name, static_cast<double>(op.calls) / row.n_step, op.seconds, op.bytes);
  }
  add("sampling", 1, row.sampling_seconds, 0);
  add("rest", 1, rest_seconds(row), 0);
  add("all", 1, row.seconds, 0);
  return fmt::format("\n{}:\n{}", row.test, table.text());
}

void print_notes(const std::vector<BenchRow>& rows, const std::optional<Roofs>& roofs) {
  std::string text;
  if (roofs) {
    text += fmt::format(
        "roofs: {:.1f} GB/s read ({:.1f} as one stream a thread), {:.0f} GOP/s int8, {:.0f} "
        "GFLOP/s f32 ({} threads, {})\n",
        roofs->read_8 / kGiga, roofs->read_1 / kGiga, roofs->int8_ops / kGiga,
        roofs->f32_flops / kGiga, roofs->n_thread, roofs->isa);
  }
  for (const BenchRow& row : rows) {
    if (row.nmse) {
      text += *row.nmse == 0.0
                  ? fmt::format("{}: logits equal those of the reference backend\n", row.test)
                  : fmt::format("{}: NMSE {:.2g} to the reference backend's logits\n", row.test,
                                *row.nmse);
    }
    if (row.host) {
      text += fmt::format(
          "host: {} of a token's {:.0f} us (sampling {:.1f} us, text {:.1f} us, rest {:.1f} us)\n",
          percent(row.host->share()), row.host->token * kMicro, row.host->sampling * kMicro,
          row.host->text * kMicro, row.host->rest * kMicro);
    }
  }
  if (!text.empty()) {
    print("\n" + text);
  }
}

}  // namespace

void print_bench(const std::vector<BenchRow>& rows, const std::optional<Roofs>& roofs, bool ops,
                 bool json) {
  if (json) {
    print_json(rows, roofs, ops);
    return;
  }
  Table table(
      {"TEST", "TOKENS/S", "P10", "P90", "GB/S", "OF ROOF", "GFLOP/S", "OF ROOF", "LOGITS"});
  for (const BenchRow& row : rows) {
    table.add({row.test, fmt::format("{:.2f}", row.tok_s), fmt::format("{:.2f}", row.p10),
               fmt::format("{:.2f}", row.p90),
               fmt::format("{:.2f}", rate(row.work.bytes(), row.seconds) / kGiga),
               percent(memory_share(row, roofs)),
               fmt::format("{:.2f}", rate(row.work.flops(), row.seconds) / kGiga),
               percent(compute_share(row, roofs)), row.logits_hash.substr(0, 12)});
  }
  print(table.text());
  if (ops) {
    for (const BenchRow& row : rows) {
      print(ops_table(row));
    }
  }
  print_notes(rows, roofs);
}

}  // namespace lm::cmd
