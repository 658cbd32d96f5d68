// lm fit: what of a model runs on a machine, how fast, and why not.

#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/fit_catalog.h"
#include "cmd/fit_subject.h"
#include "cmd/fit_text.h"
#include "cmd/format.h"
#include "cmd/model_json.h"
#include "cmd/output.h"
#include "cmd/settings.h"
#include "runtime/gguf/read_speed.h"
#include "runtime/plan/known_shapes.h"

namespace lm::cmd {
namespace {

struct FitArguments {
  std::optional<std::string> model, vram, ram, kv_type, params;
  std::optional<std::int64_t> n_ctx, n_parallel, n_batch, bits;
};

/// "70B", "1.5b", "0.6": billions.
std::optional<double> parse_params(std::string_view text) {
  if (!text.empty() && (text.back() == 'B' || text.back() == 'b')) {
    text.remove_suffix(1);
  }
  const auto value = parse_number(text);
  return value && *value > 0 && *value < 10'000 ? value : std::nullopt;
}

Result<FitSubject> of_table(const FitArguments& given) {
  const auto params = parse_params(*given.params);
  if (!params) {
    return usage_error("--params", fmt::format("'{}' is no number of parameters", *given.params),
                       "write it as 8B or 0.6B");
  }
  const KnownShape& shape = nearest_known_shape(*params);
  FitSubject subject;
  subject.name = fmt::format("the shape of {}", shape.name);
  std::vector<std::string_view> quants = {"Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16"};
  if (given.bits) {
    const std::string_view quant = quant_of_bits(static_cast<unsigned>(*given.bits));
    if (quant.empty()) {
      return usage_error("--bits", fmt::format("{} is none of 2, 3, 4, 5, 6, 8, 16", *given.bits));
    }
    quants = {quant};
  }
  for (const std::string_view quant : quants) {
    LM_TRY(GgufFile file, shape_file(shape, quant));
    LM_CHECK(subject.add(std::string(quant), std::move(file)));
  }
  return subject;
}

Result<std::vector<std::uint64_t>> parse_sizes(std::string_view flag, const std::string& list) {
  std::vector<std::uint64_t> sizes;
  std::string_view rest = list;
  while (true) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const auto size = parse_bytes(rest.substr(0, comma));
    if (!size) {
      return usage_error(std::string(flag), fmt::format("'{}' is no size", rest.substr(0, comma)),
                         "write it as 8G, or 8G,16G,24G");
    }
    sizes.push_back(*size);
    if (comma == rest.size()) {
      return sizes;
    }
    rest.remove_prefix(comma + 1);
  }
}

Result<PlanWish> wish_of(const FitArguments& given) {
  PlanWish wish;
  if (given.n_ctx) {
    wish.n_ctx = static_cast<std::uint32_t>(*given.n_ctx);
  }
  wish.n_seq = static_cast<std::uint32_t>(given.n_parallel.value_or(1));
  wish.n_batch = static_cast<std::uint32_t>(given.n_batch.value_or(512));
  if (given.kv_type) {
    const auto type = parse_kv_type(*given.kv_type);
    if (!type) {
      return usage_error("--kv-type",
                         fmt::format("'{}' is none of f32, f16, bf16, q8_0, q4_0", *given.kv_type));
    }
    wish.kv_type = *type;
  } else {
    LM_TRY(wish.kv_type, kv_type_setting());
  }
  return wish;
}

/// "8GB": the first column of a table holds no blanks.
std::string size_label(std::uint64_t bytes) {
  std::string text = format_bytes(bytes);
  std::erase(text, ' ');
  return text;
}

/// A model larger than the memory is as fast as the disk that it lies on.
void note_disk_speed(const FitSubject& subject, Machine& machine) {
  const GgufFile& file = *subject.files.front();
  const ByteSource& part = *file.parts().front();
  if (part.fd() >= 0 && file.file_bytes() > machine.devices.back().free_bytes) {
    machine.speeds.back().disk_gb_s = read_speed(part.fd(), part.size()).value_or(0.0) / 1e9;
  }
}

Result<FitResult> fit_on(Machine machine, std::string name, const FitSubject& subject,
                         const PlanWish& wish) {
  FitResult result{.machine = std::move(name), .devices = std::move(machine), .table = {}};
  note_disk_speed(subject, result.devices);
  LM_TRY(result.table,
         fit_table(subject.candidates, result.devices.devices, result.devices.speeds, wish));
  return result;
}

void print_one(const FitSubject& subject, const FitResult& fit, bool json) {
  if (json) {
    print(dump_json(fit_json(subject.name, fit)) + "\n");
    return;
  }
  print(fmt::format("{}\n", subject.name) + fit_text(fit));
  for (const std::string& note : fit.devices.notes) {
    print_note(note);
  }
}

Result<ExitCode> print_tiers(const FitSubject& subject, const std::vector<std::uint64_t>& sizes,
                             std::optional<std::uint64_t> ram, const PlanWish& wish, bool json) {
  std::vector<FitResult> fits;
  for (const std::uint64_t size : sizes) {
    LM_TRY(Machine machine, other_machine(size, ram));
    LM_TRY(FitResult fit, fit_on(std::move(machine), size_label(size), subject, wish));
    fits.push_back(std::move(fit));
  }
  if (!json) {
    print(fmt::format("{}\n\n", subject.name) + fit_tiers_text(fits));
    return ExitCode::ok;
  }
  nlohmann::ordered_json document{{"model", subject.name},
                                  {"tiers", nlohmann::ordered_json::array()}};
  for (std::size_t i = 0; i < fits.size(); ++i) {
    nlohmann::ordered_json tier{{"vram", sizes[i]}};
    tier.update(fit_json(subject.name, fits[i]));
    document["tiers"].push_back(std::move(tier));
  }
  print(dump_json(document) + "\n");
  return ExitCode::ok;
}

}  // namespace

Result<ExitCode> fit_command(CommandLine& line) {
  FitArguments given;
  Arguments arguments(line);
  arguments.text("--vram", given.vram, "SIZE[,SIZE...]",
                 "plan for a card of that size; several: side by side");
  arguments.text("--ram", given.ram, "SIZE", "plan for that much main memory");
  arguments.integer("-c,--ctx", given.n_ctx, 1, 1 << 24, "tokens of context (default: solved for)");
  arguments.text("--kv-type", given.kv_type, "T",
                 "type of the KV cache: f32, f16, bf16, q8_0, q4_0");
  arguments.integer("--parallel", given.n_parallel, 1, 1024,
                    "sequences that are guaranteed their context (default 1)");
  arguments.integer("--batch", given.n_batch, 1, 512, "rows of a step at most (default 512)");
  arguments.text("--params", given.params, "N", "no model, but a size: 8B, 70B");
  arguments.integer("--bits", given.bits, 2, 16, "bits a weight, with --params");
  arguments.flag("--json", line.json, "print JSON");
  arguments.positional("MODEL", given.model);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  if (given.params && given.model) {
    return usage_error("--params", "stands instead of a model");
  }
  if (given.bits && !given.params) {
    return usage_error("--bits", "needs --params");
  }
  LM_TRY(const PlanWish wish, wish_of(given));
  std::vector<std::uint64_t> cards, memory;
  if (given.vram) {
    LM_TRY(cards, parse_sizes("--vram", *given.vram));
  }
  if (given.ram) {
    LM_TRY(memory, parse_sizes("--ram", *given.ram));
    if (memory.size() != 1) {
      return usage_error("--ram", "takes one size");
    }
  }
  const auto ram = memory.empty() ? std::nullopt : std::optional(memory.front());
  const auto machine_of = [&]() -> Result<Machine> {
    const auto vram = cards.empty() ? std::nullopt : std::optional(cards.front());
    return vram || ram ? other_machine(vram, ram) : this_machine();
  };
  if (!given.model && !given.params) {
    if (cards.size() > 1) {
      return usage_error("--vram", "takes one size when no model is named");
    }
    LM_TRY(const Machine machine, machine_of());
    return rank_catalog(machine, wish, line.json);
  }
  LM_TRY(const FitSubject subject, given.params ? of_table(given) : find_fit_subject(*given.model));
  if (cards.size() > 1) {
    return print_tiers(subject, cards, ram, wish, line.json);
  }
  LM_TRY(Machine machine, machine_of());
  LM_TRY(const FitResult fit, fit_on(std::move(machine), "", subject, wish));
  print_one(subject, fit, line.json);
  return ExitCode::ok;
}

}  // namespace lm::cmd
