#include "runtime/grammar/decimal.h"

#include <algorithm>
#include <cstddef>

namespace lm::grammar {
namespace {

constexpr long kMaxDigits = 512;

bool is_digit(char32_t c) {
  return c >= U'0' && c <= U'9';
}

int sign_of(int value) {
  return (value > 0) - (value < 0);
}

}  // namespace

std::optional<Decimal> Decimal::parse(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t first = at;
    while (at < text.size() && is_digit(static_cast<unsigned char>(text[at]))) {
      ++at;
    }
    return text.substr(first, at - first);
  };
  Decimal out;
  out.negative = !text.empty() && text[0] == '-';
  at = out.negative ? 1 : 0;
  const std::string_view whole = digits();
  std::string_view fraction;
  if (at < text.size() && text[at] == '.') {
    ++at;
    fraction = digits();
  }
  long exponent = 0;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    const bool down = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) {
      ++at;
    }
    for (const char c : digits()) {
      exponent = std::min(exponent * 10 + (c - '0'), 100'000L);
    }
    exponent = down ? -exponent : exponent;
  }
  if (whole.empty() || at != text.size()) {
    return std::nullopt;
  }
  // All digits with the point at `point`, then cut there.
  std::string all = std::string(whole) + std::string(fraction);
  long point = static_cast<long>(whole.size()) + exponent;
  const bool zero = all.find_first_not_of('0') == std::string::npos;
  if (zero) {
    return Decimal{};
  }
  if (point < -kMaxDigits || point > kMaxDigits || static_cast<long>(all.size()) > kMaxDigits) {
    return std::nullopt;
  }
  if (point < 0) {
    all.insert(0, static_cast<std::size_t>(-point), '0');
    point = 0;
  }
  if (point > static_cast<long>(all.size())) {
    all.append(static_cast<std::size_t>(point) - all.size(), '0');
  }
  out.whole = all.substr(0, static_cast<std::size_t>(point));
  out.fraction = all.substr(static_cast<std::size_t>(point));
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  if (out.whole.empty()) {
    out.whole = "0";
  }
  out.fraction.erase(out.fraction.find_last_not_of('0') + 1);
  return out;
}

std::string Decimal::text() const {
  return (negative ? "-" : "") + whole + (fraction.empty() ? "" : "." + fraction);
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) {
    return a.negative ? -1 : 1;
  }
  int order = sign_of(static_cast<int>(a.whole.size()) - static_cast<int>(b.whole.size()));
  if (order == 0) {
    order = sign_of(a.whole.compare(b.whole));
  }
  if (order == 0) {
    order = sign_of(a.fraction.compare(b.fraction));  // a prefix is the smaller one, as it must be
  }
  return a.negative ? -order : order;
}

bool read(const Comparison& comparison, CompareState& state, char32_t c) {
  using Phase = CompareState::Phase;
  const Decimal& bound = comparison.bound;
  const auto whole_size = static_cast<std::uint32_t>(bound.whole.size());
  if (c == U'-') {
    if (state.phase != Phase::begin || state.negative) {
      return false;
    }
    state.negative = true;
    return true;
  }
  if (c == U'.') {
    if (state.phase != Phase::whole) {
      return false;
    }
    if (state.place != whole_size) {
      state.order = state.place < whole_size ? -1 : 1;
    }
    state.phase = Phase::fraction;
    state.place = 0;
    return true;
  }
  if (!is_digit(c)) {
    return false;
  }
  state.zero = state.zero && c == U'0';
  if (state.phase != Phase::fraction) {
    state.phase = Phase::whole;
    if (state.place < whole_size) {
      if (state.order == 0) {
        state.order = static_cast<std::int8_t>(
            sign_of(static_cast<int>(c) - static_cast<int>(bound.whole[state.place])));
      }
      ++state.place;
    } else {
      state.place = whole_size + 1;
      state.order = 1;
    }
    return true;
  }
  if (state.order == 0) {
    const char digit = state.place < bound.fraction.size() ? bound.fraction[state.place] : '0';
    state.order = static_cast<std::int8_t>(sign_of(static_cast<int>(c) - static_cast<int>(digit)));
    state.place = std::min(state.place + 1, static_cast<std::uint32_t>(bound.fraction.size()) + 1);
  }
  if (state.order != 0) {
    state.place = 0;  // no longer of interest: fewer states
  }
  return true;
}

bool holds(const Comparison& comparison, const CompareState& state) {
  using Phase = CompareState::Phase;
  const Decimal& bound = comparison.bound;
  int order = state.order;
  if (state.phase == Phase::begin) {
    return false;
  }
  if (state.phase == Phase::whole && state.place != bound.whole.size()) {
    order = state.place < bound.whole.size() ? -1 : 1;
  }
  const std::size_t compared = state.phase == Phase::fraction ? state.place : 0;
  if (order == 0 && compared < bound.fraction.size()) {
    order = -1;
  }
  // `order` compares magnitudes; zero has no sign.
  const bool negative = state.negative && !state.zero;
  if (negative != bound.negative) {
    order = negative ? -1 : 1;
  } else if (negative) {
    order = -order;
  }
  if (state.zero && bound.is_zero()) {
    order = 0;
  }
  switch (comparison.relation) {
    case Relation::equal:
      return order == 0;
    case Relation::at_least:
      return order >= 0;
    case Relation::above:
      return order > 0;
    case Relation::at_most:
      return order <= 0;
    case Relation::below:
      return order < 0;
  }
  return false;
}

bool read(const Multiple& multiple, MultipleState& state, char32_t c) {
  if (c == U'-') {
    return !state.begun;  // the sign does not matter
  }
  if (c == U'.') {
    if (!state.begun || state.fraction) {
      return false;
    }
    state.fraction = true;
    return true;
  }
  if (!is_digit(c)) {
    return false;
  }
  state.begun = true;
  if (state.fraction) {
    if (state.place == multiple.scale) {
      return c == U'0';
    }
    ++state.place;
  }
  state.rest = (state.rest * 10 + (c - U'0')) % multiple.modulus;
  return true;
}

bool holds(const Multiple& multiple, const MultipleState& state) {
  std::uint64_t rest = state.rest;
  for (std::uint32_t i = state.place; i < multiple.scale; ++i) {
    rest = rest * 10 % multiple.modulus;
  }
  return state.begun && rest == 0;
}

}  // namespace lm::grammar
