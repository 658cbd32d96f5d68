/// Deterministic changes to byte strings, for fuzzing without libFuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lm::fuzz {

using Input = std::vector<std::uint8_t>;

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  /// A number below `n`, or 0 for n = 0.
  std::size_t below(std::size_t n);

 private:
  std::uint64_t state_;
};

class Mutator {
 public:
  /// `words` are byte strings worth inserting (a dictionary).
  Mutator(std::vector<Input> words, std::size_t max_bytes)
      : words_(std::move(words)), max_bytes_(max_bytes) {}

  /// `base` with one to eight changes; `other` is spliced from.
  Input mutate(const Input& base, const Input& other, Random& random) const;

 private:
  void change(Input& input, const Input& other, Random& random) const;

  std::vector<Input> words_;
  std::size_t max_bytes_;
};

/// Words of a dictionary in libFuzzer's form: lines of name="text with \xNN", '#' begins a comment.
std::vector<Input> parse_dictionary(const std::string& text);

}  // namespace lm::fuzz
