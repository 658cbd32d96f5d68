#include "runtime/engine/output_format.h"

#include <algorithm>

#include <fmt/core.h>

#include "runtime/engine/forced_call.h"

namespace lm {
namespace {

constexpr std::size_t kRemembered = 8;
constexpr std::string_view kBlank = " \t\r\n";

/// The text holds an end of `tag` with more than blanks behind it, so that it may close it and go
/// on.
bool reads_over(std::string_view text, std::string_view tag) {
  const auto goes_on = [text](std::size_t from) {
    return text.find_first_not_of(kBlank, from) != std::string_view::npos;
  };
  for (std::size_t n = 1; n < std::min(tag.size(), text.size()); ++n) {
    if (text.starts_with(tag.substr(tag.size() - n)) && goes_on(n)) {
      return true;
    }
  }
  const std::size_t whole = text.find(tag);
  return whole != std::string_view::npos && goes_on(whole + tag.size());
}

}  // namespace

Result<std::shared_ptr<grammar::Grammar>> FormatCompiler::grammar_of(const Request& request) const {
  using grammar::Grammar;
  if (request.tool_choice != ToolChoice::automatic) {
    LM_TRY(const grammar::PartGraph parts, call_parts(request, tokenizer_));
    return Grammar::from_parts(parts);
  }
  const OutputFormat& format = request.format;
  const std::string schema =
      format.kind == OutputFormat::Kind::json ? R"({"type":"object"})" : format.text;
  if (format.kind == OutputFormat::Kind::gbnf) {
    return Grammar::from_gbnf(format.text);
  }
  return request.family == OutputFamily::harmony
             ? Grammar::from_parts(final_channel_parts(schema, tokenizer_))
             : Grammar::from_schema(schema);
}

Result<std::shared_ptr<CompiledFormat>> FormatCompiler::compile(const Request& request) {
  const std::string key = fmt::format(
      "{} {} {} {} {} {}\n{}\n{}", static_cast<int>(request.format.kind),
      static_cast<int>(request.family), static_cast<int>(request.call_style),
      static_cast<int>(request.tool_choice), request.tool_name.size(), request.tool_name,
      request.format.text,
      request.tool_choice == ToolChoice::automatic ? std::string() : request.tools_json);
  std::shared_ptr<const grammar::TokenTrie> trie;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(known_, [](const Known& k) { return k.compiled->worn.load(); });
    for (const Known& known : known_) {
      if (known.key == key) {
        return known.compiled;
      }
    }
    if (trie_ == nullptr) {
      trie_ = grammar::TokenTrie::of(tokenizer_);
    }
    trie = trie_;
  }
  auto grammar = grammar_of(request);
  if (!grammar) {
    return std::unexpected(std::move(grammar).error());
  }
  if ((*grammar)->start() == grammar::kStuck) {
    return fail(ErrorCode::bad_value, "format", "no text satisfies it",
                "look for keywords that contradict each other");
  }
  const std::string_view subject =
      request.tool_choice == ToolChoice::automatic ? "format" : "tool_choice";
  auto compiled = std::make_shared<CompiledFormat>();
  for (const grammar::Warning& warning : (*grammar)->warnings()) {
    compiled->warnings.push_back(
        fmt::format("{}: #{} {}", subject, warning.pointer, warning.problem));
  }
  compiled->masks = std::make_shared<grammar::TokenMasks>(std::move(*grammar), trie);
  const std::lock_guard lock(mutex_);
  known_.push_front({key, compiled});
  if (known_.size() > kRemembered) {
    known_.pop_back();
  }
  return compiled;
}

FormatGuide::FormatGuide(std::shared_ptr<CompiledFormat> format, const Tokenizer& tokenizer,
                         const Request& request)
    : format_(std::move(format)),
      constraint_(format_->masks),
      tokenizer_(tokenizer),
      open_(request.thinking_open),
      close_(request.thinking_close) {
  if (request.family == OutputFamily::harmony && request.format.kind != OutputFormat::Kind::gbnf) {
    open_ = "<|channel|>analysis<|message|>";
    close_ = "<|end|>";
  }
  const Vocab& vocab = tokenizer_.vocab();
  for (std::size_t i = 0; i < vocab.size() && !close_.empty(); ++i) {
    const auto id = static_cast<Token>(i);
    if (vocab.is_end_of_generation(id) ||
        (vocab.is_control(id) && !close_.contains(vocab.text(id)))) {
      ends_.push_back(id);
    } else if (reads_over(piece(id), close_)) {
      overshoot_.push_back(id);
    }
  }
  if (!open_.empty() && !close_.empty()) {
    place_ = request.starts_in_thinking ? Place::thinking : Place::before;
  } else if (request.starts_in_thinking && !close_.empty()) {
    place_ = Place::thinking;
  }
}

Result<void> FormatGuide::checked(Result<void> result) {
  if (format_->masks->grammar().worn()) {
    format_->worn = true;
  }
  return result;
}

bool FormatGuide::continues_tag(std::string_view text) const {
  return !text.empty() && std::string_view(open_).substr(tag_.size()).starts_with(text);
}

Result<void> FormatGuide::mask(std::span<std::uint8_t> allowed) {
  if (place_ == Place::content) {
    return checked(constraint_.mask(allowed));
  }
  if (place_ == Place::thinking) {
    for (const Token id : ends_) {
      allowed[static_cast<std::size_t>(id)] = 0;
    }
    // What stands behind the tag would have to be the form's beginning: the tag comes alone.
    for (const Token id : overshoot_) {
      if ((tail_ + std::string(piece(id))).contains(close_)) {
        allowed[static_cast<std::size_t>(id)] = 0;
      }
    }
    return {};
  }
  // Thinking may begin here, or is being opened: tokens of the tag beside those of the form.
  std::vector<std::size_t> tag_tokens;
  for (std::size_t i = 0; may_be_tag_ && i < allowed.size(); ++i) {
    if (allowed[i] != 0 && continues_tag(piece(static_cast<Token>(i)))) {
      tag_tokens.push_back(i);
    }
  }
  if (may_be_form_) {
    Result<void> masked = checked(constraint_.mask(allowed));
    if (!masked && tag_tokens.empty()) {
      return masked;
    }
  } else {
    std::fill(allowed.begin(), allowed.end(), std::uint8_t{0});
  }
  for (const std::size_t i : tag_tokens) {
    allowed[i] = 1;
  }
  return {};
}

Result<void> FormatGuide::accept(Token token) {
  const std::string_view text = piece(token);
  switch (place_) {
    case Place::content:
      return checked(constraint_.accept(token));
    case Place::before: {
      may_be_tag_ = may_be_tag_ && continues_tag(text);
      if (may_be_tag_) {
        tag_ += text;
      }
      Result<void> fits;
      if (may_be_form_) {
        fits = checked(constraint_.accept(token));
        may_be_form_ = fits.has_value();
      }
      if (may_be_tag_ && tag_ == open_) {
        place_ = Place::thinking;
        constraint_ = grammar::GrammarConstraint(format_->masks);
      } else if (!may_be_tag_) {
        place_ = Place::content;
        return fits;
      }
      return {};
    }
    case Place::thinking: {
      tail_ += text;
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
