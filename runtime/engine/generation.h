/// The state of one request: what is to be fed, how tokens become events.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/chat/output_parser.h"
#include "runtime/engine/messages.h"
#include "runtime/engine/output_format.h"
#include "runtime/engine/speculation.h"
#include "runtime/kv/sequence.h"
#include "runtime/sample/sampler.h"
#include "runtime/tokenizer/detokenizer.h"

namespace lm {

using Clock = std::chrono::steady_clock;

/// One request on its way. Tokens [0, sequence length) are in the KV; the rest of `tokens` is to be
/// fed. While only one is left, the request decodes: its logits give the next token.
class Generation {
 public:
  /// Encodes the prompt and applies the overflow rule. Errors: context_exceeded with both numbers,
  /// invalid_argument (empty prompt, ids out of range).
  static Result<std::unique_ptr<Generation>> start(Request request, const Tokenizer& tokenizer,
                                                   std::uint32_t n_ctx, Clock::time_point arrived);
  /// The same for a text to be embedded: its tokens are fed once, what comes out is the vector. The
  /// vocabulary's end token follows the text where it wants one.
  static Result<std::unique_ptr<Generation>> start(Embed embed, const Tokenizer& tokenizer,
                                                   std::uint32_t n_ctx, Clock::time_point arrived);

  RequestId id() const { return request_.id; }
  const Request& request() const { return request_; }
  const std::vector<Token>& tokens() const { return tokens_; }
  std::uint32_t pending() const {
    return static_cast<std::uint32_t>(tokens_.size()) - (sequence ? sequence->length() : 0);
  }
  bool decoding() const { return generated_ > 0 && pending() == 1; }
  bool finished() const { return finished_; }

  bool embeds() const { return embed_.has_value(); }

  /// Makes the answer follow a compiled format; its warnings become events. Called before the first
  /// step.
  void guide(std::shared_ptr<CompiledFormat> format);

  /// Takes what a step gave for its wanted rows, [n, width]: logits after the last token and after
  /// each drafted one, or the embedding. Samples row by row until a token differs from the draft,
  /// turns tokens into events, notices the end, and rolls the sequence back to what was right.
  void take_rows(std::span<const float> rows, std::size_t width);

  /// Tokens that may follow, to be checked in the next step; with `q`, what each was drawn from.
  void propose(std::vector<Token> draft, std::vector<std::vector<Weighted>> q = {});
  const std::vector<Token>& draft() const { return draft_; }
  /// Tokens that a draft may have: less than the context and the limit of tokens leave.
  std::uint32_t draft_room() const;
  void set_draft_limit(std::uint32_t limit) { speculation_ = Speculation(limit); }
  std::uint32_t draft_wanted() const { return std::min(speculation_.wanted(), draft_room()); }

  /// Where the sequence should be forked for later requests (0: nowhere): the last page boundary
  /// before the end of the prompt, which the template's opening of the answer follows.
  void set_checkpoint();
  std::uint32_t checkpoint() const { return checkpoint_; }

  /// Ends with `done` (what is held back comes out first) or with `error`.
  void finish(Finish finish);
  void finish(Error error);

  /// The context is full: drops the oldest tokens after n_keep; the sequence must be evaluated
  /// anew.
  void shift_context();
  /// Marks n tokens as found in the cache; called once before the first step.
  void set_cached(std::uint32_t n) { stats_.cached_tokens = n; }
  void note_first_step();
  /// A step that gave rows for this request kept devices busy for so long.
  void note_device(std::uint64_t ns);

  std::unique_ptr<Sequence> sequence;
  std::vector<Event>
      events;  ///< not yet given to the reader; the engine moves them as credit allows
  std::uint32_t credit = 0;
  std::uint64_t order = 0;  ///< of arrival: the youngest is preempted first
  bool preempted =
      false;  ///< lost its pages to older requests; waits until one of them has finished

 private:
  void take_logits(std::span<const float> logits, std::size_t row);
  void take_embedding(std::span<const float> values);
  Result<void> check_sampling() const;
  Result<Token> pick(std::span<const float> logits, std::size_t row);
  void warn(std::string text);
  Generation(Request request, const Tokenizer& tokenizer, std::uint32_t n_ctx,
             Clock::time_point arrived);
  Result<void> encode();
  void emit_text(std::string_view text);
  void emit_output(std::vector<OutputEvent> output);
  Stats final_stats() const;

  Request request_;
  const Tokenizer& tokenizer_;
  std::uint32_t n_ctx_;
  Clock::time_point arrived_;
  std::optional<Clock::time_point> started_, first_token_;
  std::vector<Token> tokens_;
  std::optional<Embed> embed_;
  std::vector<Token> draft_;
  std::vector<std::vector<Weighted>> draft_q_;  ///< [draft] what a token was drawn from; or empty
  Speculation speculation_{0};
  std::uint32_t checkpoint_ = 0;
  std::vector<std::uint8_t> allowed_;  ///< empty, or a mask without the suppressed tokens
  std::optional<FormatGuide> guide_;
  std::vector<std::uint8_t> guided_;  ///< allowed_ and what the guide allows
  Sampler sampler_;
  LogitScan logprob_scan_;
  std::vector<TokenLogprobs> logprobs_;  ///< of tokens whose text is not out yet
  Detokenizer detokenizer_;
  OutputParser parser_;
  std::uint32_t generated_ = 0;
  std::uint32_t max_tokens_ = 0;
  Stats stats_;
  bool finished_ = false;
  bool shifted_ = false;  ///< the reader was told
};

}  // namespace lm
