// Wire form: little-endian integers, IEEE doubles as their bits, strings and lists behind a u32
// count. One tag byte says which message it is. The decoder trusts nothing: every count is checked
// against the bytes left.
#include "runtime/engine/messages.h"

#include <bit>
#include <cstring>

namespace lm {
namespace {

enum class Tag : std::uint8_t { request = 1, cancel = 2, credit = 3, event = 4, embed = 5 };

class Writer {
 public:
  template <class T>
  void integer(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff));
    }
  }
  template <class E>
  void enumeration(E value) {
    integer(static_cast<std::uint8_t>(value));
  }
  void real(double value) { integer(std::bit_cast<std::uint64_t>(value)); }
  void boolean(bool value) { integer(static_cast<std::uint8_t>(value ? 1 : 0)); }
  void text(std::string_view value) {
    integer(static_cast<std::uint32_t>(value.size()));
    bytes += value;
  }
  void texts(const std::vector<std::string>& values) {
    integer(static_cast<std::uint32_t>(values.size()));
    for (const std::string& value : values) {
      text(value);
    }
  }
  std::string bytes;
};

/// Reads until the first thing that is wrong; then `ok` is false and everything else reads as zero.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  template <class T>
  T integer() {
    std::uint64_t value = 0;
    if (!take(sizeof(T))) {
      return T{};
    }
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      value |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(taken_[i])) << (8 * i);
    }
    return static_cast<T>(value);
  }
  template <class E>
  E enumeration(E last) {
    const auto value = integer<std::uint8_t>();
    ok = ok && value <= static_cast<std::uint8_t>(last);
    return ok ? static_cast<E>(value) : E{};
  }
  double real() { return std::bit_cast<double>(integer<std::uint64_t>()); }
  bool boolean() {
    return enumeration<SpecialTokens>(SpecialTokens::parsed) == SpecialTokens::parsed;
  }
  std::string text() {
    const auto n = integer<std::uint32_t>();
    return take(n) ? std::string(taken_) : std::string();
  }
  std::vector<std::string> texts() {
    std::vector<std::string> values;
    for (std::uint32_t n = count(4), i = 0; i < n && ok; ++i) {
      values.push_back(text());
    }
    return values;
  }
  /// Count of a list whose elements take at least `min_bytes` each.
  std::uint32_t count(std::size_t min_bytes) {
    const auto n = integer<std::uint32_t>();
    ok = ok && n <= rest_.size() / min_bytes;
    return ok ? n : 0;
  }
  bool at_end() const { return rest_.empty(); }
  bool ok = true;

 private:
  bool take(std::size_t n) {
    if (!ok || n > rest_.size()) {
      ok = false;
      return false;
    }
    taken_ = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return true;
  }
  std::string_view rest_, taken_;
};

void put(Writer& w, const SamplerParams& p) {
  w.real(p.temperature);
  w.integer(p.top_k);
  w.real(p.top_p);
  w.real(p.min_p);
  w.real(p.typical_p);
  w.integer(p.repeat_last_n);
  w.real(p.repeat_penalty);
  w.real(p.presence_penalty);
  w.real(p.frequency_penalty);
  w.integer(p.seed);
  w.integer(static_cast<std::uint32_t>(p.logit_bias.size()));
  for (const LogitBias& bias : p.logit_bias) {
    w.integer(bias.token);
    w.real(bias.bias);
  }
  w.real(p.xtc_probability);
  w.real(p.xtc_threshold);
  w.real(p.dry_multiplier);
  w.real(p.dry_base);
  w.integer(p.dry_allowed_length);
  w.integer(p.dry_penalty_last_n);
  w.texts(p.dry_sequence_breakers);
  w.integer(p.mirostat);
  w.real(p.mirostat_tau);
  w.real(p.mirostat_eta);
}

SamplerParams get_sampler(Reader& r) {
  SamplerParams p;
  p.temperature = r.real();
  p.top_k = r.integer<std::int32_t>();
  p.top_p = r.real();
  p.min_p = r.real();
  p.typical_p = r.real();
  p.repeat_last_n = r.integer<std::int32_t>();
  p.repeat_penalty = r.real();
  p.presence_penalty = r.real();
  p.frequency_penalty = r.real();
  p.seed = r.integer<std::int64_t>();
  for (std::uint32_t n = r.count(12), i = 0; i < n && r.ok; ++i) {
    const auto token = r.integer<Token>();
    p.logit_bias.push_back({token, static_cast<float>(r.real())});
  }
  p.xtc_probability = r.real();
  p.xtc_threshold = r.real();
  p.dry_multiplier = r.real();
  p.dry_base = r.real();
  p.dry_allowed_length = r.integer<std::int32_t>();
  p.dry_penalty_last_n = r.integer<std::int32_t>();
  p.dry_sequence_breakers = r.texts();
  p.mirostat = r.integer<std::int32_t>();
  p.mirostat_tau = r.real();
  p.mirostat_eta = r.real();
  return p;
}

void put(Writer& w, const TokenLogprob& entry) {
  w.integer(entry.id);
  w.real(entry.logprob);
  w.text(entry.bytes);
}

TokenLogprob get_logprob(Reader& r) {
  TokenLogprob entry;
  entry.id = r.integer<Token>();
  entry.logprob = static_cast<float>(r.real());
  entry.bytes = r.text();
  return entry;
}

void put(Writer& w, const std::vector<TokenLogprobs>& tokens) {
  w.integer(static_cast<std::uint32_t>(tokens.size()));
  for (const TokenLogprobs& token : tokens) {
    put(w, token.chosen);
    w.integer(static_cast<std::uint32_t>(token.top.size()));
    for (const TokenLogprob& other : token.top) {
      put(w, other);
    }
  }
}

std::vector<TokenLogprobs> get_logprobs(Reader& r) {
  constexpr std::size_t kEntryBytes = 16;
  std::vector<TokenLogprobs> tokens;
  for (std::uint32_t n = r.count(kEntryBytes + 4), i = 0; i < n && r.ok; ++i) {
    TokenLogprobs token;
    token.chosen = get_logprob(r);
    for (std::uint32_t n_top = r.count(kEntryBytes), j = 0; j < n_top && r.ok; ++j) {
      token.top.push_back(get_logprob(r));
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

void put(Writer& w, const Prompt& prompt, const std::vector<Token>& ids) {
  w.integer(static_cast<std::uint32_t>(prompt.size()));
  for (const PromptSegment& segment : prompt) {
    w.enumeration(segment.kind);
    w.text(segment.text);
    w.boolean(segment.special == SpecialTokens::parsed);
    w.integer(segment.media_index);
  }
  w.integer(static_cast<std::uint32_t>(ids.size()));
  for (const Token token : ids) {
    w.integer(token);
  }
}

void get(Reader& r, Prompt& prompt, std::vector<Token>& ids) {
  for (std::uint32_t n = r.count(10), i = 0; i < n && r.ok; ++i) {
    PromptSegment segment;
    segment.kind = r.enumeration(PromptSegment::Kind::media);
    segment.text = r.text();
    segment.special = r.boolean() ? SpecialTokens::parsed : SpecialTokens::as_text;
    segment.media_index = r.integer<std::uint32_t>();
    prompt.push_back(std::move(segment));
  }
  for (std::uint32_t n = r.count(sizeof(Token)), i = 0; i < n && r.ok; ++i) {
    ids.push_back(r.integer<Token>());
  }
}

void put(Writer& w, const Embed& q) {
  w.enumeration(Tag::embed);
  w.integer(q.id);
  put(w, q.prompt, q.ids);
  w.boolean(q.truncate);
  w.boolean(q.normalize);
  w.integer(q.dimensions);
  w.integer(q.credit);
}

Embed get_embed(Reader& r) {
  Embed q;
  q.id = r.integer<RequestId>();
  get(r, q.prompt, q.ids);
  q.truncate = r.boolean();
  q.normalize = r.boolean();
  q.dimensions = r.integer<std::uint32_t>();
  q.credit = r.integer<std::uint32_t>();
  return q;
}

void put(Writer& w, const Request& q) {
  w.enumeration(Tag::request);
  w.integer(q.id);
  put(w, q.prompt, q.ids);
  w.boolean(q.add_bos);
  put(w, q.sampler);
  w.boolean(q.logprobs);
  w.integer(q.top_logprobs);
  w.texts(q.stop);
  w.integer(q.max_tokens);
  w.enumeration(q.format.kind);
  w.text(q.format.text);
  w.enumeration(q.overflow);
  w.boolean(q.shift);
  w.integer(q.n_keep);
  w.text(q.thinking_open);
  w.text(q.thinking_close);
  w.boolean(q.starts_in_thinking);
  w.enumeration(q.family);
  w.enumeration(q.call_style);
  w.text(q.tools_json);
  w.enumeration(q.tool_choice);
  w.text(q.tool_name);
  w.integer(q.draft_tokens);
  w.integer(q.credit);
}

Request get_request(Reader& r) {
  Request q;
  q.id = r.integer<RequestId>();
  get(r, q.prompt, q.ids);
  q.add_bos = r.boolean();
  q.sampler = get_sampler(r);
  q.logprobs = r.boolean();
  q.top_logprobs = r.integer<std::uint8_t>();
  q.stop = r.texts();
  q.max_tokens = r.integer<std::int32_t>();
  q.format.kind = r.enumeration(OutputFormat::Kind::gbnf);
  q.format.text = r.text();
  q.overflow = r.enumeration(Overflow::truncate_front);
  q.shift = r.boolean();
  q.n_keep = r.integer<std::int32_t>();
  q.thinking_open = r.text();
  q.thinking_close = r.text();
  q.starts_in_thinking = r.boolean();
  q.family = r.enumeration(OutputFamily::last);
  q.call_style = r.enumeration(CallStyle::last);
  q.tools_json = r.text();
  q.tool_choice = r.enumeration(ToolChoice::named);
  q.tool_name = r.text();
  q.draft_tokens = r.integer<std::int32_t>();
  q.credit = r.integer<std::uint32_t>();
  return q;
}

std::unexpected<Error> malformed(const char* what) {
  return fail(ErrorCode::bad_value, what, "is malformed or cut short",
              "both ends must run the same version of lm");
}

}  // namespace

std::string encode(const Command& command) {
  Writer w;
  if (const auto* request = std::get_if<Request>(&command)) {
    put(w, *request);
  } else if (const auto* embed = std::get_if<Embed>(&command)) {
    put(w, *embed);
  } else if (const auto* cancel = std::get_if<Cancel>(&command)) {
    w.enumeration(Tag::cancel);
    w.integer(cancel->id);
  } else if (const auto* credit = std::get_if<Credit>(&command)) {
    w.enumeration(Tag::credit);
    w.integer(credit->id);
    w.integer(credit->n);
  }
  return std::move(w.bytes);
}

std::string encode(const Event& event) {
  Writer w;
  w.enumeration(Tag::event);
  w.integer(event.id);
  w.enumeration(event.kind);
  w.text(event.text);
  put(w, event.logprobs);
  w.integer(static_cast<std::uint32_t>(event.embedding.size()));
  for (const float value : event.embedding) {
    w.integer(std::bit_cast<std::uint32_t>(value));
  }
  const Stats& s = event.stats;
  for (const std::uint32_t n :
       {s.prompt_tokens, s.cached_tokens, s.generated_tokens, s.truncated_tokens, s.drafted_tokens,
        s.accepted_tokens, s.context_used, s.context_size}) {
    w.integer(n);
  }
  for (const std::uint64_t ns :
       {s.queue_ns, s.prompt_ns, s.generation_ns, s.device_ns, s.sampling_ns, s.text_ns}) {
    w.integer(ns);
  }
  w.enumeration(event.finish);
  w.text(event.stop_string);
  w.enumeration(event.error.code);
  w.text(event.error.subject);
  w.text(event.error.problem);
  w.text(event.error.hint);
  w.integer(static_cast<std::int32_t>(event.error.os_error));
  return std::move(w.bytes);
}

Result<Command> decode_command(std::string_view bytes) {
  Reader r(bytes);
  Command command;
  switch (r.enumeration(Tag::embed)) {
    case Tag::request:
      command = get_request(r);
      break;
    case Tag::embed:
      command = get_embed(r);
      break;
    case Tag::cancel:
      command = Cancel{r.integer<RequestId>()};
      break;
    case Tag::credit: {
      Credit credit;
      credit.id = r.integer<RequestId>();
      credit.n = r.integer<std::uint32_t>();
      command = credit;
      break;
    }
    default:
      return malformed("command");
  }
  if (!r.ok || !r.at_end()) {
    return malformed("command");
  }
  return command;
}

Result<Event> decode_event(std::string_view bytes) {
  Reader r(bytes);
  Event event;
  if (r.enumeration(Tag::embed) != Tag::event) {
    return malformed("event");
  }
  event.id = r.integer<RequestId>();
  event.kind = r.enumeration(Event::Kind::done);
  event.text = r.text();
  event.logprobs = get_logprobs(r);
  for (std::uint32_t n = r.count(sizeof(float)), i = 0; i < n && r.ok; ++i) {
    event.embedding.push_back(std::bit_cast<float>(r.integer<std::uint32_t>()));
  }
  Stats& s = event.stats;
  for (std::uint32_t* n :
       {&s.prompt_tokens, &s.cached_tokens, &s.generated_tokens, &s.truncated_tokens,
        &s.drafted_tokens, &s.accepted_tokens, &s.context_used, &s.context_size}) {
    *n = r.integer<std::uint32_t>();
  }
  for (std::uint64_t* ns :
       {&s.queue_ns, &s.prompt_ns, &s.generation_ns, &s.device_ns, &s.sampling_ns, &s.text_ns}) {
    *ns = r.integer<std::uint64_t>();
  }
  event.finish = r.enumeration(Finish::cancelled);
  event.stop_string = r.text();
  event.error.code = r.enumeration(ErrorCode::busy);
  event.error.subject = r.text();
  event.error.problem = r.text();
  event.error.hint = r.text();
  event.error.os_error = r.integer<std::int32_t>();
  if (!r.ok || !r.at_end()) {
    return malformed("event");
  }
  return event;
}

}  // namespace lm
