#include "runtime/tokenizer/detokenizer.h"

#include <algorithm>
#include <utility>

#include "runtime/tokenizer/utf8.h"

namespace lm {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// Bytes at the beginning of `bytes` that are one character (`is_valid`) or that no character can
/// begin with: one U+FFFD stands for them (Unicode, "maximal subpart"). 0: it depends on bytes
/// still to come.
struct Step {
  std::size_t bytes;
  bool is_valid;
};
Step next_step(std::string_view bytes) {
  const std::size_t n = utf8::announced_bytes(bytes[0]);
  if (n <= 1) {
    return {1, n == 1};
  }
  for (std::size_t i = 1; i < n; ++i) {
    if (i == bytes.size()) {
      return {0, false};
    }
    const bool fits =
        i == 1 ? utf8::second_byte_fits(bytes[0], bytes[1]) : utf8::is_continuation(bytes[i]);
    if (!fits) {
      return {i, false};
    }
  }
  return {n, true};
}

bool is_text(std::string_view bytes) {
  while (!bytes.empty()) {
    const Step step = next_step(bytes);
    if (!step.is_valid) {
      return false;
    }
    bytes.remove_prefix(step.bytes);
  }
  return true;
}

}  // namespace

Detokenizer::Detokenizer(const Tokenizer& tokenizer, std::vector<std::string> stop_strings,
                         bool continues_text)
    : tokenizer_(tokenizer), continues_text_(continues_text) {
  for (std::string& text : stop_strings) {
    if (text.empty() || !is_text(text)) {
      continue;
    }
    // Knuth, Morris and Pratt 1977.
    Stop stop{std::move(text), {}, 0};
    stop.shorter.assign(stop.text.size(), 0);
    for (std::size_t i = 1; i < stop.text.size(); ++i) {
      std::uint32_t n = stop.shorter[i - 1];
      while (n > 0 && stop.text[n] != stop.text[i]) {
        n = stop.shorter[n - 1];
      }
      stop.shorter[i] = n + (stop.text[n] == stop.text[i] ? 1 : 0);
    }
    stops_.push_back(std::move(stop));
  }
}

void Detokenizer::spell(std::vector<Token> tokens) {
  spelt_ = std::move(tokens);
  std::sort(spelt_.begin(), spelt_.end());
}

std::string Detokenizer::push(Token token) {
  if (stopped_) {
    return {};
  }
  const bool spelt = std::binary_search(spelt_.begin(), spelt_.end(), token);
  const std::string_view bytes = tokenizer_.piece(token, spelt);
  if (first_ && !continues_text_) {
    decode(tokenizer_.decode({&token, 1}), false);
  } else {
    decode(bytes, false);
  }
  // Tokens that show nothing do not begin the text.
  first_ = first_ && bytes.empty();
  return take();
}

std::string Detokenizer::finish() {
  if (!stopped_) {
    decode({}, true);
  }
  if (!stopped_) {
    for (Stop& stop : stops_) {
      stop.matched = 0;
    }
  }
  return take();
}

/// Turns bytes into text, as far as they form characters; `at_end` says that no more come.
void Detokenizer::decode(std::string_view bytes, bool at_end) {
  undecoded_.append(bytes);
  std::string_view rest = undecoded_;
  while (!rest.empty() && !stopped_) {
    const Step step = next_step(rest);
    if (step.bytes == 0) {
      if (at_end) {
        append(kReplacement);
        rest = {};
      }
      break;
    }
    append(step.is_valid ? rest.substr(0, step.bytes) : kReplacement);
    rest.remove_prefix(step.bytes);
  }
  undecoded_.erase(0, undecoded_.size() - rest.size());
}

void Detokenizer::append(std::string_view text) {
  for (std::size_t i = 0; i < text.size() && !stopped_; ++i) {
    append(text[i]);
  }
}

void Detokenizer::append(char byte) {
  text_.push_back(byte);
  const Stop* met = nullptr;
  for (Stop& stop : stops_) {
    while (stop.matched > 0 && stop.text[stop.matched] != byte) {
      stop.matched = stop.shorter[stop.matched - 1];
    }
    stop.matched += stop.text[stop.matched] == byte ? 1 : 0;
    if (stop.matched == stop.text.size() &&
        (met == nullptr || stop.text.size() > met->text.size())) {
      met = &stop;
    }
  }
  if (met == nullptr) {
    return;
  }
  stopped_ = true;
  matched_ = met->text;
  text_.resize(text_.size() - met->text.size());
  for (Stop& stop : stops_) {
    stop.matched = 0;
  }
}

/// What is held, less what may still become a stop string.
std::string Detokenizer::take() {
  std::size_t keep = 0;
  for (const Stop& stop : stops_) {
    keep = std::max(keep, stop.matched);
  }
  const std::size_t end = text_.size() - keep;
  std::string text = text_.substr(n_given_, end - n_given_);
  n_given_ = end;
  // Dropped only now and then: a long stop string keeps a long tail, which must not be moved for
  // each token.
  if (n_given_ > text_.size() / 2) {
    text_.erase(0, n_given_);
    n_given_ = 0;
  }
  return text;
}

}  // namespace lm
