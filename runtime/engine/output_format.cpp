#include "runtime/engine/output_format.h"

#include <algorithm>

#include <fmt/core.h>

namespace lm {
namespace {

constexpr std::size_t kRemembered = 8;
constexpr std::string_view kBlank = " \t\r\n";

}  // namespace

Result<std::shared_ptr<CompiledFormat>> FormatCompiler::compile(const OutputFormat& format) {
  std::shared_ptr<const grammar::TokenTrie> trie;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(known_, [](const Known& k) { return k.compiled->worn.load(); });
    for (const Known& known : known_) {
      if (known.format == format) {
        return known.compiled;
      }
    }
    if (trie_ == nullptr) {
      trie_ = grammar::TokenTrie::of(tokenizer_);
    }
    trie = trie_;
  }
  using grammar::Grammar;
  auto grammar = format.kind == OutputFormat::Kind::json     ? Grammar::any_object()
                 : format.kind == OutputFormat::Kind::schema ? Grammar::from_schema(format.text)
                                                             : Grammar::from_gbnf(format.text);
  if (!grammar) {
    return std::unexpected(std::move(grammar).error());
  }
  if ((*grammar)->start() == grammar::kStuck) {
    return fail(ErrorCode::bad_value, "format", "no text satisfies it",
                "look for keywords that contradict each other");
  }
  auto compiled = std::make_shared<CompiledFormat>();
  for (const grammar::Warning& warning : (*grammar)->warnings()) {
    compiled->warnings.push_back(fmt::format("format: #{} {}", warning.pointer, warning.problem));
  }
  compiled->masks = std::make_shared<grammar::TokenMasks>(std::move(*grammar), trie);
  const std::lock_guard lock(mutex_);
  known_.push_front({format, compiled});
  if (known_.size() > kRemembered) {
    known_.pop_back();
  }
  return compiled;
}

FormatGuide::FormatGuide(std::shared_ptr<CompiledFormat> format, const Tokenizer& tokenizer,
                         std::string thinking_open, std::string thinking_close,
                         bool starts_in_thinking)
    : format_(std::move(format)),
      constraint_(format_->masks),
      tokenizer_(tokenizer),
      open_(std::move(thinking_open)),
      close_(std::move(thinking_close)) {
  if (!open_.empty() && !close_.empty()) {
    place_ = starts_in_thinking ? Place::thinking : Place::before;
  }
}

Result<void> FormatGuide::checked(Result<void> result) {
  if (format_->masks->grammar().worn()) {
    format_->worn = true;
  }
  return result;
}

bool FormatGuide::continues_tag(std::string_view piece) const {
  return !piece.empty() && std::string_view(open_).substr(tag_.size()).starts_with(piece);
}

Result<void> FormatGuide::mask(std::span<std::uint8_t> allowed) {
  if (place_ == Place::content) {
    return checked(constraint_.mask(allowed));
  }
  if (place_ == Place::thinking) {
    for (const Token id : tokenizer_.vocab().end_of_generation) {
      if (id >= 0 && static_cast<std::size_t>(id) < allowed.size()) {
        allowed[static_cast<std::size_t>(id)] = 0;
      }
    }
    return {};
  }
  // Thinking may begin here, or is being opened: tokens of the tag beside those of the format.
  std::vector<std::size_t> tag_tokens;
  for (std::size_t i = 0; i < allowed.size(); ++i) {
    if (allowed[i] != 0 && continues_tag(tokenizer_.piece(static_cast<Token>(i)))) {
      tag_tokens.push_back(i);
    }
  }
  if (place_ == Place::before) {
    LM_CHECK(checked(constraint_.mask(allowed)));
  } else {
    std::fill(allowed.begin(), allowed.end(), std::uint8_t{0});
  }
  for (const std::size_t i : tag_tokens) {
    allowed[i] = 1;
  }
  return {};
}

Result<void> FormatGuide::accept(Token token) {
  const std::string_view piece = tokenizer_.piece(token);
  switch (place_) {
    case Place::content:
      return checked(constraint_.accept(token));
    case Place::before:
    case Place::in_tag:
      if (continues_tag(piece)) {
        tag_ += piece;
        place_ = tag_ == open_ ? Place::thinking : Place::in_tag;
        return {};
      }
      place_ = Place::content;
      return checked(constraint_.accept(token));
    case Place::thinking: {
      tail_ += piece;
      const std::size_t at = tail_.find(close_);
      if (at == std::string::npos) {
        tail_.erase(0, tail_.size() - std::min(tail_.size(), close_.size() - 1));
        return {};
      }
      place_ = Place::content;
      std::string_view rest = std::string_view(tail_).substr(at + close_.size());
      rest.remove_prefix(std::min(rest.find_first_not_of(kBlank), rest.size()));
      return checked(constraint_.accept_text(rest));
    }
  }
  return {};
}

bool FormatGuide::finished() const {
  return place_ == Place::content && constraint_.is_finished();
}

}  // namespace lm
