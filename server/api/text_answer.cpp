#include "server/api/text_answer.h"

#include <algorithm>
#include <utility>

#include "runtime/chat/output_parser.h"

namespace lm::api {
namespace {

std::string_view content_type(Framing framing) {
  switch (framing) {
    case Framing::ndjson:
      return "application/x-ndjson";
    case Framing::sse:
      return "text/event-stream";
    case Framing::whole:
      break;
  }
  return "application/json";
}

}  // namespace

TextAnswer::TextAnswer(AnswerBasis basis, std::size_t jobs, Framing framing)
    : basis_(std::move(basis)),
      framing_(basis_.stream ? framing : Framing::whole),
      choices_(jobs),
      ids_(basis_.here.id_seed),
      request_id_(ids_.next("req_")) {
  for (std::size_t i = 0; i < jobs; ++i) {
    choices_[i].index = i;
  }
}

std::string TextAnswer::opening(Moment /*now*/) {
  return {};
}

std::string TextAnswer::ping_frame() {
  return framing_ == Framing::sse ? ": ping\n\n" : std::string();
}

Output TextAnswer::begin(Moment /*now*/) {
  return {};
}

/// Of a stream: head and opening, once.
Output TextAnswer::open(Moment now) {
  Output out;
  if (!open_) {
    open_ = true;
    out.head = Head{200, framing_, content_type(framing_), warnings_header(basis_.warnings)};
    out.bytes = opening(now);
  }
  return out;
}

Output TextAnswer::take(std::size_t job, Event event, Moment now) {
  if (job >= choices_.size() || choices_[job].done) {
    return {};
  }
  Choice& choice = choices_[job];
  const bool streams = framing_ != Framing::whole;
  Output out;
  switch (event.kind) {
    case Event::Kind::warning:
      if (std::ranges::find(basis_.warnings, event.text) == basis_.warnings.end()) {
        basis_.warnings.push_back(std::move(event.text));
      }
      break;
    case Event::Kind::content:
    case Event::Kind::thinking: {
      if (streams) {
        out = open(now);
        out.bytes += piece(choice, event, now);
      }
      (event.kind == Event::Kind::content ? choice.content : choice.thinking) += event.text;
      choice.logprobs.insert(choice.logprobs.end(), std::make_move_iterator(event.logprobs.begin()),
                             std::make_move_iterator(event.logprobs.end()));
      break;
    }
    case Event::Kind::tool_call: {
      auto parsed = parse_tool_call_json(event.text);
      if (!parsed) {
        return fail(api_error(parsed.error()), now);
      }
      if (streams) {
        out = open(now);
        out.bytes += call(choice, *parsed, now);
      }
      choice.calls.push_back(std::move(*parsed));
      break;
    }
    case Event::Kind::embedding:
    case Event::Kind::stats:
      break;
    case Event::Kind::error:
      return fail(api_error(event.error), now);
    case Event::Kind::done:
      return finish_choice(choice, event, now);
  }
  return out;
}

Output TextAnswer::finish_choice(Choice& choice, Event& event, Moment now) {
  if (event.finish == Finish::cancelled) {
    return fail({499, "cancelled", "the request was stopped", ""}, now);
  }
  choice.done = true;
  choice.finish = event.finish;
  choice.stop_string = std::move(event.stop_string);
  choice.stats = event.stats;
  const bool all = std::ranges::all_of(choices_, [](const Choice& c) { return c.done; });
  Output out;
  if (framing_ == Framing::whole) {
    if (all) {
      const Json body = whole(now);
      out.head = Head{200, framing_, content_type(framing_), warnings_header(basis_.warnings)};
      out.bytes = dump(body);
      out.last = true;
    }
    return out;
  }
  out = open(now);
  out.bytes += ending(choice, now);
  if (all) {
    out.bytes += closing(now);
    out.last = true;
  }
  return out;
}

Output TextAnswer::fail(const ApiError& error, Moment /*now*/) {
  Output out;
  out.last = true;
  if (open_) {
    out.bytes = error_frame(error);
    return out;
  }
  out.head = Head{error.status, Framing::whole, "application/json", retry_headers(error)};
  out.bytes = error_body(dress_of(basis_.endpoint), error, request_id_);
  return out;
}

Output TextAnswer::ping(Moment now) {
  const std::string frame = framing_ == Framing::whole ? std::string() : ping_frame();
  if (frame.empty()) {
    return {};
  }
  Output out = open(now);
  out.bytes += frame;
  return out;
}

std::uint32_t TextAnswer::prompt_tokens() const {
  return basis_.prompt_tokens;
}

std::uint32_t TextAnswer::generated_tokens() const {
  std::uint32_t sum = 0;
  for (const Choice& choice : choices_) {
    sum += choice.stats.generated_tokens;
  }
  return sum;
}

std::uint32_t TextAnswer::cached_tokens() const {
  return choices_.empty() ? 0 : choices_.front().stats.cached_tokens;
}

std::uint32_t TextAnswer::dropped_tokens() const {
  return basis_.dropped_tokens + (choices_.empty() ? 0 : choices_.front().stats.truncated_tokens);
}

}  // namespace lm::api
