#include "runtime/engine/generation.h"

#include <algorithm>
#include <random>
#include <utility>

#include <fmt/core.h>

#include "runtime/engine/embedding.h"

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

Dialect dialect_of(const Request& request) {
  return {.family = request.family,
          .style = request.call_style,
          .think_open = request.thinking_open,
          .think_close = request.thinking_close,
          .starts_in_thinking = request.starts_in_thinking,
          .tools_json = request.tools_json};
}

/// Control tokens that the parser of the answer must see as text.
std::vector<Token> spelt_tokens(const Request& request, const Vocab& vocab) {
  const Dialect dialect = dialect_of(request);
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    const auto id = static_cast<Token>(i);
    if (vocab.is_control(id) && is_mark(dialect, vocab.text(id))) {
      tokens.push_back(id);
    }
  }
  return tokens;
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
      parser_(dialect_of(request_), std::random_device{}()),
      max_tokens_(token_limit(request_.max_tokens, n_ctx)) {
  stats_.context_size = n_ctx;
  detokenizer_.spell(spelt_tokens(request_, tokenizer.vocab()));
}

Result<std::unique_ptr<Generation>> Generation::start(Request request, const Tokenizer& tokenizer,
                                                      std::uint32_t n_ctx,
                                                      Clock::time_point arrived) {
  std::unique_ptr<Generation> generation(
      new Generation(std::move(request), tokenizer, n_ctx, arrived));
  LM_CHECK(generation->encode());
  return generation;
}

Result<std::unique_ptr<Generation>> Generation::start(Embed embed, const Tokenizer& tokenizer,
                                                      std::uint32_t n_ctx,
                                                      Clock::time_point arrived) {
  Request request;
  request.id = embed.id;
  request.credit = embed.credit;
  request.max_tokens = 0;
  std::unique_ptr<Generation> generation(
      new Generation(std::move(request), tokenizer, n_ctx, arrived));
  LM_TRY(EncodedText text, encode_for_embedding(embed, tokenizer, n_ctx));
  generation->tokens_ = std::move(text.tokens);
  generation->stats_.prompt_tokens = text.n_whole;
  generation->stats_.truncated_tokens = text.n_dropped;
  generation->embed_ = std::move(embed);
  return generation;
}

/// Whether all that the request asks of the sampler is possible with this vocabulary.
Result<void> Generation::check_sampling() const {
  if (request_.top_logprobs > kMaxTopLogprobs) {
    return fail(ErrorCode::invalid_argument, "top_logprobs",
                fmt::format("{} is more than {}", request_.top_logprobs, kMaxTopLogprobs));
  }
  const std::size_t n_vocab = tokenizer_.n_vocab();
  for (const LogitBias& bias : request_.sampler.logit_bias) {
    if (bias.token < 0 || static_cast<std::size_t>(bias.token) >= n_vocab) {
      return fail(ErrorCode::invalid_argument, "logit_bias",
                  fmt::format("token {} is not below {}", bias.token, n_vocab));
    }
  }
  return {};
}

Result<void> Generation::encode() {
  LM_CHECK(check_sampling());
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
    warn(
        fmt::format("the prompt has {} tokens, the context length is {}: {} tokens after the first "
                    "{} were dropped",
                    stats_.prompt_tokens, n_ctx_, drop, keep));
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

void Generation::note_device(std::uint64_t ns) {
  if (first_token_) {  // before it, the time is the prompt's
    stats_.device_ns += ns;
  }
}

void Generation::warn(std::string text) {
  Event event;
  event.id = request_.id;
  event.kind = Event::Kind::warning;
  event.text = std::move(text);
  events.push_back(std::move(event));
}

void Generation::propose(std::vector<Token> draft, std::vector<std::vector<Weighted>> q) {
  draft_ = std::move(draft);
  draft_q_ = std::move(q);
}

std::uint32_t Generation::draft_room() const {
  // The token after the last drafted one must find room too.
  const std::uint64_t taken = tokens_.size() + 1;
  const std::uint64_t context = n_ctx_ > taken ? n_ctx_ - taken : 0;
  const std::uint64_t limit = max_tokens_ > generated_ + 1 ? max_tokens_ - generated_ - 1 : 0;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>({context, limit, kMaxRollBack - 1}));
}

void Generation::set_checkpoint() {
  constexpr std::uint32_t kOpening = 8;
  const auto n = static_cast<std::uint32_t>(tokens_.size());
  checkpoint_ = n > kOpening ? (n - kOpening) / kPageTokens * kPageTokens : 0;
}

void Generation::take_embedding(std::span<const float> values) {
  auto vector = finish_embedding(values, embed_->dimensions, embed_->normalize);
  if (!vector) {
    finish(std::move(vector).error());
    return;
  }
  Event event;
  event.id = request_.id;
  event.kind = Event::Kind::embedding;
  event.embedding = std::move(*vector);
  events.push_back(std::move(event));
  finish(Finish::stop);
}

void Generation::take_rows(std::span<const float> rows, std::size_t width) {
  if (!first_token_) {
    first_token_ = Clock::now();
  }
  if (embeds()) {
    take_embedding(rows);
    return;
  }
  if (max_tokens_ == 0) {
    finish(Finish::length);
    return;
  }
  const std::size_t n_draft = rows.size() / width - 1;
  stats_.drafted_tokens += static_cast<std::uint32_t>(n_draft);
  std::uint32_t accepted = 0;  // and in the sequence
  for (std::size_t i = 0; i <= n_draft && !finished_; ++i) {
    const std::size_t before = tokens_.size();
    take_logits(rows.subspan(i * width, width), i);
    if (i == n_draft || tokens_.size() == before || tokens_.back() != draft_[i]) {
      break;
    }
    ++accepted;
  }
  if (!finished_) {
    speculation_.note(static_cast<std::uint32_t>(n_draft), accepted);
  }
  draft_.clear();
  draft_q_.clear();
  const auto wrong = static_cast<std::uint32_t>(n_draft) - accepted;
  if (sequence && !sequence->roll_back(wrong)) {
    sequence->clear();
  }
}

void Generation::guide(std::shared_ptr<CompiledFormat> format) {
  for (const std::string& warning : format->warnings) {
    warn(warning);
  }
  guide_.emplace(std::move(format), tokenizer_, request_);
}

Result<Token> Generation::pick(std::span<const float> logits, std::size_t row) {
  std::span<const std::uint8_t> allowed = allowed_;
  if (guide_) {
    guided_ = allowed_;
    guided_.resize(tokenizer_.n_vocab(), 1);
    LM_CHECK(guide_->mask(guided_));
    allowed = guided_;
  }
  if (row >= draft_q_.size()) {
    return sampler_.pick(logits, allowed);
  }
  LM_TRY(const auto verdict, sampler_.verify(logits, allowed, draft_[row], draft_q_[row]));
  return verdict.token;
}

/// One row of logits. Row i checks the draft's token i.
void Generation::take_logits(std::span<const float> logits, std::size_t row) {
  const Clock::time_point begin = Clock::now();
  const Result<Token> picked = pick(logits, row);
  if (!picked) {
    Error error = picked.error();
    if (error.code == ErrorCode::non_finite) {
      error.problem += fmt::format(" at token {}", tokens_.size());
      error.hint = "find the bad tensor with: lm verify --weights MODEL";
    }
    finish(std::move(error));
    return;
  }
  ++generated_;
  stats_.accepted_tokens += row < draft_.size() && *picked == draft_[row] ? 1 : 0;
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
  const Clock::time_point sampled = Clock::now();
  stats_.sampling_ns += nanoseconds(sampled - begin);
  emit_text(detokenizer_.push(*picked));
  stats_.text_ns += nanoseconds(Clock::now() - sampled);
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
    emit_output(parser_.feed(text));
  }
}

void Generation::emit_output(std::vector<OutputEvent> output) {
  for (OutputEvent& piece : output) {
    Event event;
    event.id = request_.id;
    switch (piece.kind) {
      case OutputEvent::Kind::content:
        event.kind = Event::Kind::content;
        event.text = std::move(piece.text);
        break;
      case OutputEvent::Kind::thinking:
        event.kind = Event::Kind::thinking;
        event.text = std::move(piece.text);
        break;
      case OutputEvent::Kind::tool_call:
        event.kind = Event::Kind::tool_call;
        event.text = tool_call_json(piece.call);
        break;
    }
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
  emit_output(parser_.finish());
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
  if (!shifted_) {
    warn(
        fmt::format("the context of {} tokens is full: its oldest tokens after the first {} are "
                    "dropped as the answer goes on",
                    n_ctx_, keep));
    shifted_ = true;
  }
  checkpoint_ = 0;
  propose({});
  stats_.truncated_tokens += drop;
  if (sequence) {
    sequence->clear();
  }
}

}  // namespace lm
