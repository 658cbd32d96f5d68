// The table of architectures. One row each; the rows' code lives in runtime/arch.
#include <algorithm>
#include <array>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "runtime/model/architecture.h"

namespace lm {

namespace arch {
extern const Architecture bert, cohere2, command_r, deepseek2, falcon, gemma, gemma2, gemma3,
    gemma4, gemma_embedding, glm4, gpt2, gpt_oss, gptneox, granite, granitemoe, jina_bert_v2, lfm2,
    llama, mistral3, nomic_bert, olmo2, phi2, phi3, qwen2, qwen2moe, qwen3, qwen35, qwen35moe,
    qwen3moe, smollm3, stablelm, starcoder2;
}  // namespace arch

namespace {

constexpr std::array<const Architecture*, 33> kArchitectures = {
    &arch::bert,         &arch::cohere2,
    &arch::command_r,    &arch::deepseek2,
    &arch::falcon,       &arch::gemma,
    &arch::gemma2,       &arch::gemma3,
    &arch::gemma4,       &arch::gemma_embedding,
    &arch::glm4,         &arch::gpt2,
    &arch::gpt_oss,      &arch::gptneox,
    &arch::granite,      &arch::granitemoe,
    &arch::jina_bert_v2, &arch::lfm2,
    &arch::llama,        &arch::mistral3,
    &arch::nomic_bert,   &arch::olmo2,
    &arch::phi2,         &arch::phi3,
    &arch::qwen2,        &arch::qwen2moe,
    &arch::qwen3,        &arch::qwen35,
    &arch::qwen35moe,    &arch::qwen3moe,
    &arch::smollm3,      &arch::stablelm,
    &arch::starcoder2};

/// Levenshtein distance, for "the nearest relative".
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const Architecture* const> architectures() {
  return kArchitectures;
}

const Architecture* find_architecture(std::string_view name) {
  const auto found = std::find_if(kArchitectures.begin(), kArchitectures.end(),
                                  [&](const Architecture* a) { return a->name == name; });
  return found == kArchitectures.end() ? nullptr : *found;
}

std::string supported_architectures() {
  std::vector<std::string_view> names;
  for (const Architecture* a : kArchitectures) {
    names.push_back(a->name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string_view nearest_architecture(std::string_view name) {
  const std::string_view wanted = name.substr(0, 64);
  return (*std::min_element(kArchitectures.begin(), kArchitectures.end(),
                            [&](const Architecture* a, const Architecture* b) {
                              return edit_distance(a->name, wanted) <
                                     edit_distance(b->name, wanted);
                            }))
      ->name;
}

}  // namespace lm
