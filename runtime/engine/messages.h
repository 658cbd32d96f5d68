/// The only words the engine understands. Values without pointers or callbacks: each could cross a
/// socket, and does when the engine runs in a child process (`encode`, `decode`).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "backends/error.h"
#include "runtime/chat/dialect.h"
#include "runtime/chat/prompt.h"
#include "runtime/sample/logprobs.h"
#include "runtime/sample/sampler_params.h"

namespace lm {

using RequestId = std::uint64_t;

/// What to do with a prompt that is longer than the context.
enum class Overflow : std::uint8_t {
  error,          ///< refuse with both numbers
  truncate_front  ///< drop the oldest tokens after `n_keep`, counted in Stats.truncated_tokens
};

/// The form that an answer must have. Every token is chosen among those that keep to it.
struct OutputFormat {
  enum class Kind : std::uint8_t { none, json, schema, gbnf };
  Kind kind = Kind::none;  ///< json: any object
  std::string text;        ///< the JSON schema or the grammar
  bool operator==(const OutputFormat&) const = default;
};

/// Whether the answer must be a tool call.
enum class ToolChoice : std::uint8_t {
  automatic,  ///< the model decides
  required,   ///< one call of any of the tools
  named       ///< one call of the tool named
};

/// Generate text after a prompt.
struct Request {
  RequestId id = 0;
  Prompt prompt;           ///< segments; used when `ids` is empty
  std::vector<Token> ids;  ///< the prompt as ids, used as they are
  bool add_bos =
      true;  ///< put BOS in front of `prompt` when the vocabulary wants one and it is not there
  SamplerParams sampler;
  bool logprobs = false;          ///< content and thinking events carry those of their tokens
  std::uint8_t top_logprobs = 0;  ///< alternatives a token, at most kMaxTopLogprobs
  std::vector<std::string> stop;  ///< generation ends before any of these; they are never emitted
  std::int32_t max_tokens =
      -1;               ///< -1: until stop, at most 10 x n_ctx; 0: evaluate the prompt only
  OutputFormat format;  ///< of the content; thinking is free
  Overflow overflow = Overflow::error;
  bool shift =
      false;  ///< context full: drop the oldest after n_keep and go on; else finish with length
  std::int32_t n_keep = 4;  ///< prompt tokens kept on truncation and shift; -1: all
  std::string
      thinking_open;  ///< "<think>": text between the tags arrives as thinking events; empty: off
  std::string thinking_close;
  bool starts_in_thinking = false;           ///< the prompt itself ended with the opening tag
  OutputFamily family = OutputFamily::none;  ///< how the model writes tool calls
  CallStyle call_style = CallStyle::json;    ///< and their arguments, when it must write one
  std::string tools_json;  ///< tools offered, as in Dialect; empty: calls stay text
  ToolChoice tool_choice = ToolChoice::automatic;  ///< thinking is free also before a forced call
  std::string tool_name;                           ///< of choice `named`
  /// Tokens drafted ahead of the text and checked in one step, at most kMaxRollBack - 1; 0: none;
  /// -1: the engine's choice. Drafts change neither greedy text nor the distribution of other text.
  std::int32_t draft_tokens = -1;
  std::uint32_t credit = 64;  ///< events the reader will take before it grants more
};

/// Turn a text into a vector, with a model that pools. Its events: `embedding`, then `done`.
struct Embed {
  RequestId id = 0;
  Prompt prompt;           ///< segments; used when `ids` is empty
  std::vector<Token> ids;  ///< the text as ids, used as they are
  bool truncate = true;    ///< drop the end of a text that is too long (counted), else refuse it
  bool normalize = true;   ///< to length 1
  std::uint32_t dimensions = 0;  ///< keep the first ones only; 0: all
  std::uint32_t credit = 64;
};

/// Stop a request; its last event is `done` with finish cancelled.
struct Cancel {
  RequestId id = 0;
};

/// The reader can take `n` more events of a request. Without credit only that request pauses.
struct Credit {
  RequestId id = 0;
  std::uint32_t n = 1;
};

using Command = std::variant<Request, Embed, Cancel, Credit>;

enum class Finish : std::uint8_t { stop, length, cancelled };

/// Figures of one request. Times are of the steady clock.
struct Stats {
  std::uint32_t prompt_tokens = 0;  ///< all, cached or not
  std::uint32_t cached_tokens = 0;  ///< of these, not evaluated again
  std::uint32_t generated_tokens = 0;
  std::uint32_t truncated_tokens = 0;  ///< dropped from the prompt or by context shifts
  std::uint32_t drafted_tokens = 0;    ///< guessed ahead; of these
  std::uint32_t accepted_tokens = 0;   ///< were right
  std::uint64_t queue_ns = 0;
  std::uint64_t prompt_ns = 0;
  std::uint64_t generation_ns = 0;
  // Of generation_ns, what went into each; the rest is the engine's own book-keeping.
  std::uint64_t device_ns = 0;    ///< steps on devices (those shared with others count whole)
  std::uint64_t sampling_ns = 0;  ///< logits to a token, masks of a format included
  std::uint64_t text_ns = 0;      ///< token to text and events
  std::uint32_t context_used = 0;
  std::uint32_t context_size = 0;
};

/// What the engine says about a request, in order. `error` and `done` are the last.
struct Event {
  enum class Kind : std::uint8_t {
    content,
    thinking,
    tool_call,
    embedding,
    stats,
    warning,
    error,
    done
  };
  RequestId id = 0;
  Kind kind = Kind::content;
  std::string text;  ///< content, thinking: complete UTF-8; warning: the sentence; tool_call: as
                     ///< tool_call_json writes it
  /// Kinds content and thinking, when asked for: the tokens that this text completes. Tokens of a
  /// stop string are left out, as their text is.
  std::vector<TokenLogprobs> logprobs;
  std::vector<float> embedding;  ///< kind embedding
  Stats stats;                   ///< kinds stats and done
  Finish finish = Finish::stop;  ///< kind done
  std::string stop_string;       ///< kind done: the stop string that ended it, or empty
  Error error;                   ///< kind error
};

/// Wire form of a message: a length-prefixed record. `decode` takes untrusted bytes. Errors:
/// bad_value, truncated.
std::string encode(const Command& command);
std::string encode(const Event& event);
Result<Command> decode_command(std::string_view bytes);
Result<Event> decode_event(std::string_view bytes);

}  // namespace lm
