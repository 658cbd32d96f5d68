#include "runtime/engine/generation.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

namespace lm {
namespace {

std::uint64_t nanoseconds(Clock::duration d) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(d).count());
}

/// Without an end of its own a generation stops at ten contexts, as clients of this kind of API
/// expect.
std::uint32_t token_limit(std::int32_t asked, std::uint32_t n_ctx) {
  return asked >= 0 ? static_cast<std::uint32_t>(asked) : n_ctx * 10;
}

}  // namespace

Generation::Generation(Request request, const Tokenizer& tokenizer, std::uint32_t n_ctx,
                       Clock::time_point arrived)
    : credit(request.credit),
      request_(std::move(request)),
      tokenizer_(tokenizer),
      n_ctx_(n_ctx),
      arrived_(arrived),
      sampler_(request_.sampler, &tokenizer),
      detokenizer_(tokenizer, request_.stop),
      thinking_(request_.thinking_open, request_.thinking_close, request_.starts_in_thinking),
      max_tokens_(token_limit(request_.max_tokens, n_ctx)) {
  stats_.context_size = n_ctx;
}

Result<std::unique_ptr<Generation>> Generation::start(Request request, const Tokenizer& tokenizer,
                                                      std::uint32_t n_ctx,
                                                      Clock::time_point arrived) {
  std::unique_ptr<Generation> generation(
      new Generation(std::move(request), tokenizer, n_ctx, arrived));
  LM_CHECK(generation->encode());
  return generation;
}

Result<void> Generation::encode() {
  tokens_ = request_.ids.empty() ? encode_prompt(tokenizer_, request_.prompt, request_.add_bos)
                                 : request_.ids;
  if (tokens_.empty()) {
    return fail(ErrorCode::invalid_argument, "prompt", "is empty", "give some text");
  }
  const auto n_vocab = static_cast<Token>(tokenizer_.n_vocab());
  for (const Token token : tokens_) {
    if (token < 0 || token >= n_vocab) {
      return fail(ErrorCode::invalid_argument, "prompt",
                  fmt::format("token {} is not below {}", token, n_vocab));
    }
  }
  if (request_.top_logprobs > kMaxTopLogprobs) {
    return fail(ErrorCode::invalid_argument, "top_logprobs",
                fmt::format("{} is more than {}", request_.top_logprobs, kMaxTopLogprobs));
  }
  for (const LogitBias& bias : request_.sampler.logit_bias) {
    if (bias.token < 0 || bias.token >= n_vocab) {
      return fail(ErrorCode::invalid_argument, "logit_bias",
                  fmt::format("token {} is not below {}", bias.token, n_vocab));
    }
  }
  stats_.prompt_tokens = static_cast<std::uint32_t>(tokens_.size());
  const std::uint32_t room = max_tokens_ > 0 && n_ctx_ > 1 ? n_ctx_ - 1 : n_ctx_;
  if (tokens_.size() > room) {
    if (request_.overflow == Overflow::error) {
      return fail(ErrorCode::context_exceeded, "prompt",
                  fmt::format("has {} tokens, the context length is {}", tokens_.size(), n_ctx_),
                  "use a larger --ctx, or --truncate");
    }
    const std::uint32_t keep =
        request_.n_keep < 0
            ? room / 2
            : std::min<std::uint32_t>(static_cast<std::uint32_t>(request_.n_keep), room / 2);
    const std::size_t drop = tokens_.size() - room;
    tokens_.erase(tokens_.begin() + keep,
                  tokens_.begin() + keep + static_cast<std::ptrdiff_t>(drop));
    stats_.truncated_tokens = static_cast<std::uint32_t>(drop);
  }
  for (const Token token : tokens_) {
    sampler_.accept(token);
  }
  if (!tokenizer_.vocab().suppressed.empty()) {
    allowed_.assign(static_cast<std::size_t>(n_vocab), 1);
    for (const Token token : tokenizer_.vocab().suppressed) {
      if (token >= 0 && token < n_vocab) {
        allowed_[static_cast<std::size_t>(token)] = 0;
      }
    }
  }
  return {};
}

void Generation::note_first_step() {
  if (!started_) {
    started_ = Clock::now();
  }
}

void Generation::guide(std::shared_ptr<CompiledFormat> format) {
  for (const std::string& warning : format->warnings) {
    Event event;
    event.id = request_.id;
    event.kind = Event::Kind::warning;
    event.text = warning;
    events.push_back(std::move(event));
  }
  guide_.emplace(std::move(format), tokenizer_, request_.thinking_open, request_.thinking_close,
                 request_.starts_in_thinking);
}

Result<Token> Generation::pick(std::span<const float> logits) {
  if (!guide_) {
    return sampler_.pick(logits, allowed_);
  }
  guided_ = allowed_;
  guided_.resize(tokenizer_.n_vocab(), 1);
  LM_CHECK(guide_->mask(guided_));
  return sampler_.pick(logits, guided_);
}

void Generation::take_logits(std::span<const float> logits) {
  if (!first_token_) {
    first_token_ = Clock::now();
  }
  if (max_tokens_ == 0) {
    finish(Finish::length);
    return;
  }
  const Result<Token> picked = pick(logits);
  if (!picked) {
    Error error = picked.error();
    if (error.code == ErrorCode::non_finite) {
      error.problem += fmt::format(" at token {}", tokens_.size());
      error.hint = "the model file is damaged; pull or import it again";
    }
    finish(std::move(error));
    return;
  }
  ++generated_;
  if (tokenizer_.vocab().is_end_of_generation(*picked)) {
    finish(Finish::stop);
    return;
  }
  if (request_.logprobs) {
    logprobs_.push_back(
        token_logprobs(logits, *picked, request_.top_logprobs, tokenizer_, logprob_scan_));
  }
  sampler_.accept(*picked);
  tokens_.push_back(*picked);
  if (guide_) {
    if (Result<void> fits = guide_->accept(*picked); !fits) {
      finish(std::move(fits).error());
      return;
    }
  }
  emit_text(detokenizer_.push(*picked));
  if (detokenizer_.stopped() || (guide_ && guide_->finished())) {
    finish(Finish::stop);
  } else if (generated_ >= max_tokens_) {
    finish(Finish::length);
  } else if (tokens_.size() > n_ctx_ && !request_.shift) {
    finish(Finish::length);
  }
}

void Generation::emit_text(std::string_view text) {
  if (!text.empty()) {
    emit_pieces(thinking_.push(text));
  }
}

void Generation::emit_pieces(std::vector<ThinkingSplitter::Piece> pieces) {
  for (ThinkingSplitter::Piece& piece : pieces) {
    Event event;
    event.id = request_.id;
    event.kind = piece.thinking ? Event::Kind::thinking : Event::Kind::content;
    event.text = std::move(piece.text);
    event.logprobs = std::exchange(logprobs_, {});
    events.push_back(std::move(event));
  }
}

Stats Generation::final_stats() const {
  Stats stats = stats_;
  const Clock::time_point now = Clock::now();
  const Clock::time_point started = started_.value_or(now);
  const Clock::time_point first = first_token_.value_or(now);
  stats.generated_tokens = generated_;
  stats.queue_ns = nanoseconds(started - arrived_);
  stats.prompt_ns = nanoseconds(first - started);
  stats.generation_ns = nanoseconds(now - first);
  stats.context_used = static_cast<std::uint32_t>(std::min<std::size_t>(tokens_.size(), n_ctx_));
  return stats;
}

void Generation::finish(Finish finish) {
  if (finished_) {
    return;
  }
  finished_ = true;
  emit_text(detokenizer_.finish());
  emit_pieces(thinking_.finish());
  Event event;
  event.id = request_.id;
  event.kind = Event::Kind::done;
  event.stats = final_stats();
  event.finish = finish;
  event.stop_string = detokenizer_.stop_string();
  events.push_back(std::move(event));
}

void Generation::finish(Error error) {
  if (finished_) {
    return;
  }
  finished_ = true;
  Event event;
  event.id = request_.id;
  event.kind = Event::Kind::error;
  event.stats = final_stats();
  event.error = std::move(error);
  events.push_back(std::move(event));
}

void Generation::shift_context() {
  // Half of what is not kept goes, so that the next shift is far away.
  const auto size = static_cast<std::uint32_t>(tokens_.size());
  const std::uint32_t keep =
      request_.n_keep < 0 ? std::min(stats_.prompt_tokens, n_ctx_ / 2)
                          : std::min(static_cast<std::uint32_t>(request_.n_keep), n_ctx_ / 2);
  const std::uint32_t drop = std::max((size - keep) / 2, size - n_ctx_);
  tokens_.erase(tokens_.begin() + keep, tokens_.begin() + keep + drop);
  stats_.truncated_tokens += drop;
  if (sequence) {
    sequence->clear();
  }
}

}  // namespace lm
