#include "backends/cpu/kernels/codebooks.h"

#include <cstddef>

#include "backends/reference/dequant_iq_grids.h"

namespace lm::cpu {
namespace {

/// Value k of an entry is levels[bits k * width .. of the packed entry].
template <class Word, std::size_t kEntries, std::size_t kLevels>
void expand(const std::uint16_t (&grid)[kEntries], const std::int8_t (&levels)[kLevels], int factor,
            Word (&out)[kEntries]) {
  constexpr unsigned kValues = sizeof(Word);
  constexpr unsigned kBits = kLevels == 4 ? 2 : 3;
  for (std::size_t e = 0; e < kEntries; ++e) {
    Word word = 0;
    for (unsigned k = 0; k < kValues; ++k) {
      const int value = factor * levels[(grid[e] >> (kBits * k)) & (kLevels - 1)];
      word |= static_cast<Word>(static_cast<std::uint8_t>(value)) << (8 * k);
    }
    out[e] = word;
  }
}

Codebooks build() {
  Codebooks books;
  expand(reference::kIq1Grid, reference::kIq1Levels, 8, books.iq1);
  expand(reference::kIq2XxsGrid, reference::kIq2Levels, 1, books.iq2_xxs);
  expand(reference::kIq2XsGrid, reference::kIq2Levels, 1, books.iq2_xs);
  expand(reference::kIq2SGrid, reference::kIq2Levels, 1, books.iq2_s);
  expand(reference::kIq3XxsGrid, reference::kIq3XxsLevels, 1, books.iq3_xxs);
  expand(reference::kIq3SGrid, reference::kIq3SLevels, 1, books.iq3_s);
  for (unsigned m = 0; m < 256; ++m) {
    books.signs[m] = 0;
    for (unsigned k = 0; k < 8; ++k) {
      books.signs[m] |= (m >> k & 1u) != 0 ? std::uint64_t{0xff} << (8 * k) : 0;
    }
  }
  return books;
}

}  // namespace

const Codebooks& codebooks() {
  static const Codebooks books = build();
  return books;
}

}  // namespace lm::cpu
