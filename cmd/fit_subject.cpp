#include "cmd/fit_subject.h"

#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "cmd/machine.h"
#include "cmd/remote_headers.h"
#include "cmd/resolve.h"
#include "cmd/settings.h"

namespace lm::cmd {

Result<void> FitSubject::add(std::string quant, GgufFile file) {
  auto kept = std::make_unique<GgufFile>(std::move(file));
  LM_TRY(ModelShape shape, ModelShape::read(*kept));
  files.push_back(std::move(kept));
  shapes.push_back(std::make_unique<ModelShape>(std::move(shape)));
  candidates.push_back({std::move(quant), shapes.back().get()});
  return {};
}

Result<FitSubject> fit_subject_on_hub(const registry::ModelRef& ref) {
  LM_TRY(RemoteHeaders headers, fetch_headers(ref));
  for (const std::string& warning : headers.warnings) {
    print_warning(warning);
  }
  FitSubject subject;
  subject.name = "hf.co/" + headers.repo;
  std::optional<Failure> last;
  for (RemoteHeader& header : headers.quants) {
    if (auto added = subject.add(header.quant, std::move(*header.file)); !added) {
      last = std::move(added).error();
    }
  }
  if (subject.candidates.empty() && last) {
    return std::unexpected(*last);
  }
  return subject;
}

Result<FitSubject> find_fit_subject(const std::string& model) {
  auto resolved = resolve_model(model);
  if (resolved) {
    FitSubject subject;
    subject.name = resolved->name;
    std::string quant = quantization_name(resolved->file);
    LM_CHECK(subject.add(std::move(quant), std::move(resolved->file)));
    return subject;
  }
  const bool is_path = model.find(".gguf") != model.npos || std::filesystem::exists(model);
  if (resolved.error().code != "not_found" || is_path) {
    return std::unexpected(std::move(resolved).error());
  }
  LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(model));
  return fit_subject_on_hub(ref);
}

Result<FittingQuant> fitting_quant(const registry::ModelRef& ref) {
  LM_TRY(const FitSubject subject, fit_subject_on_hub(ref));
  LM_TRY(const Machine machine, this_machine());
  PlanWish wish;
  LM_TRY(wish.n_ctx, context_length_setting());
  LM_TRY(wish.kv_type, kv_type_setting());
  LM_TRY(const FitTable table,
         fit_table(subject.candidates, machine.devices, machine.speeds, wish));
  if (!table.recommended) {
    return failure("out_of_memory", subject.name, table.reason,
                   table.advice.empty() ? "see: lm fit" : "try: " + table.advice.front());
  }
  const FitRow& row = table.rows[*table.recommended];
  return FittingQuant{row.quant, fmt::format("{}: {} ({})", row.quant, table.reason, row.verdict)};
}

}  // namespace lm::cmd
