#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>

namespace lm::fuzz {
namespace {

using Offset = Input::difference_type;

/// Numbers at which length and offset arithmetic breaks.
constexpr std::array<std::uint64_t, 24> kOddNumbers = {
    0,      1,          2,          3,          4,          7,          8,          12,
    31,     32,         33,         64,         127,        128,        255,        256,
    0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ull << 32, 1ull << 62, 1ull << 63, ~0ull};

Offset offset(std::size_t n) {
  return static_cast<Offset>(n);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void put_number(Input& input, std::uint64_t value, std::size_t width, Random& random) {
  if (input.size() < width) {
    return;
  }
  std::memcpy(input.data() + random.below(input.size() - width + 1), &value, width);
}

}  // namespace

std::uint64_t Random::next() {
  state_ += 0x9E3779B97F4A7C15ull;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

std::size_t Random::below(std::size_t n) {
  return n == 0 ? 0 : static_cast<std::size_t>(next() % n);
}

Input Mutator::mutate(const Input& base, const Input& other, Random& random) const {
  Input input = base;
  const std::size_t n = std::size_t{1} << random.below(4);
  for (std::size_t i = 0; i < n; ++i) {
    change(input, other, random);
  }
  input.resize(std::min(input.size(), max_bytes_));
  return input;
}

void Mutator::change(Input& input, const Input& other, Random& random) const {
  if (input.empty()) {
    input.push_back(static_cast<std::uint8_t>(random.next()));
    return;
  }
  const std::size_t at = random.below(input.size());
  const std::size_t run = 1 + random.below(std::min<std::size_t>(input.size() - at, 64));
  switch (random.below(10)) {
    case 0:
      input[at] = static_cast<std::uint8_t>(input[at] ^ 1u << random.below(8));
      return;
    case 1:
      input[at] = static_cast<std::uint8_t>(random.next());
      return;
    case 2:
      put_number(input, kOddNumbers[random.below(kOddNumbers.size())],
                 std::size_t{1} << random.below(4), random);
      return;
    case 3:
      input[at] = static_cast<std::uint8_t>(input[at] + random.below(9) - 4);
      return;
    case 4:
      input.erase(input.begin() + offset(at), input.begin() + offset(at + run));
      return;
    case 5: {
      const Input piece(input.begin() + offset(at), input.begin() + offset(at + run));
      input.insert(input.begin() + offset(random.below(input.size())), piece.begin(), piece.end());
      return;
    }
    case 6:
      input.insert(input.begin() + offset(at), run, static_cast<std::uint8_t>(random.next()));
      return;
    case 7:
      input.resize(at);
      return;
    case 8: {
      const std::size_t from = random.below(other.size());
      const std::size_t length = random.below(std::min<std::size_t>(other.size() - from, 256) + 1);
      input.insert(input.begin() + offset(at), other.begin() + offset(from),
                   other.begin() + offset(from + length));
      return;
    }
    default:
      if (!words_.empty()) {
        const Input& word = words_[random.below(words_.size())];
        if (random.below(2) == 0) {
          input.insert(input.begin() + offset(at), word.begin(), word.end());
        } else {
          std::copy_n(word.begin(), std::min(word.size(), input.size() - at),
                      input.begin() + offset(at));
        }
      }
      return;
  }
}

std::vector<Input> parse_dictionary(const std::string& text) {
  std::vector<Input> words;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t open = line.find('"');
    const std::size_t close = line.rfind('"');
    if (line.empty() || line[0] == '#' || open == std::string::npos || close <= open) {
      continue;
    }
    Input word;
    for (std::size_t i = open + 1; i < close; ++i) {
      if (line[i] == '\\' && i + 3 < close + 1 && line[i + 1] == 'x' &&
          hex_digit(line[i + 2]) >= 0 && hex_digit(line[i + 3]) >= 0) {
        word.push_back(
            static_cast<std::uint8_t>(hex_digit(line[i + 2]) * 16 + hex_digit(line[i + 3])));
        i += 3;
      } else if (line[i] == '\\' && i + 1 < close) {
        word.push_back(static_cast<std::uint8_t>(line[++i]));
      } else {
        word.push_back(static_cast<std::uint8_t>(line[i]));
      }
    }
    words.push_back(std::move(word));
  }
  return words;
}

}  // namespace lm::fuzz
