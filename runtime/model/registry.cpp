// The table of architectures. One row each; the rows' code lives in runtime/arch.
#include <algorithm>
#include <array>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "runtime/model/architecture.h"

namespace lm {

namespace arch {
extern const Architecture llama;
extern const Architecture qwen2;
extern const Architecture qwen3;
}  // namespace arch

namespace {

constexpr std::array<const Architecture*, 3> kArchitectures = {&arch::llama, &arch::qwen2,
                                                               &arch::qwen3};

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
