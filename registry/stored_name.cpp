#include "registry/ascii.h"
#include "registry/pull.h"
#include "registry/quant_label.h"

namespace lm::registry {

std::optional<std::string> stored_name(const store::Store& store, const ModelRef& ref) {
  const ModelRef hub = ref.on_hub();
  for (const ModelRef& form : {ref, hub}) {
    if (const auto manifest = store.find(form.shortest())) {
      return manifest->name;
    }
  }
  if (!hub.is_hub() || !(hub.tag.empty() || equal_ignoring_case(hub.tag, "latest"))) {
    return std::nullopt;
  }
  const auto entries = store.list("hf.co/" + hub.repo() + ":");
  if (!entries) {
    return std::nullopt;
  }
  std::optional<std::string> best;
  int best_rank = 0;
  for (const store::ModelEntry& entry : *entries) {
    const std::string label = label_of_text(entry.name.substr(entry.name.rfind(':') + 1));
    const int rank = default_rank(label) >= 0 ? default_rank(label) : 1000 + label_bits(label);
    if (!best || rank < best_rank) {
      best = entry.name;
      best_rank = rank;
    }
  }
  return best;
}

}  // namespace lm::registry
