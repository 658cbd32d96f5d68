#include "cmd/generate.h"

#include <atomic>

#include <fmt/format.h>

#include "cmd/format.h"
#include "cmd/signals.h"
#include "runtime/chat/output_parser.h"

namespace lm::cmd {
namespace {

using Clock = std::chrono::steady_clock;

// How soon a signal is noticed between two events; the engine itself stops within 100 ms.
constexpr auto kPoll = std::chrono::milliseconds(20);

Request make_request(const Question& question) {
  static std::atomic<RequestId> next_id{1};
  Request request;
  request.id = next_id.fetch_add(1);
  request.prompt = question.prompt;
  request.sampler = question.options.sampler;
  request.stop = question.options.stop;
  request.max_tokens = question.options.max_tokens;
  request.n_keep = question.options.n_keep;
  request.overflow = question.overflow;
  request.format = question.format;
  if (question.options.draft_tokens) {
    request.draft_tokens = static_cast<std::int32_t>(*question.options.draft_tokens);
  }
  request.family = question.dialect.family;
  request.call_style = question.dialect.style;
  request.tools_json = question.dialect.tools_json;
  if (!question.dialect.think_close.empty()) {
    request.thinking_open = question.dialect.think_open;
    request.thinking_close = question.dialect.think_close;
    request.starts_in_thinking = ends_in_thinking(question.prompt, question.dialect);
  }
  return request;
}

/// Takes one event into the answer; true when it is the last.
Result<bool> take(Event& event, Answer& answer, AnswerSink& sink) {
  switch (event.kind) {
    case Event::Kind::tool_call: {
      LM_TRY(ToolCall call, parse_tool_call_json(event.text));
      sink.tool_call(call);
      answer.tool_calls.push_back(std::move(call));
      return false;
    }
    case Event::Kind::content:
      answer.content += event.text;
      sink.content(event.text);
      return false;
    case Event::Kind::thinking:
      answer.thinking += event.text;
      sink.thinking(event.text);
      return false;
    case Event::Kind::warning:
      sink.warning(event.text);
      return false;
    case Event::Kind::embedding:
    case Event::Kind::stats:
      return false;
    case Event::Kind::error:
      return std::unexpected(Failure(event.error));
    case Event::Kind::done:
      answer.stats = event.stats;
      answer.finish = event.finish;
      return true;
  }
  return true;
}

double per_second(std::uint32_t tokens, std::uint64_t ns) {
  return ns == 0 ? 0 : static_cast<double>(tokens) * 1e9 / static_cast<double>(ns);
}

std::chrono::nanoseconds nanoseconds(std::uint64_t ns) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(ns));
}

}  // namespace

Result<Answer> generate(LoadedModel& loaded, const Question& question, AnswerSink& sink) {
  const GracefulInterrupt graceful;
  const auto begin = Clock::now();
  Request request = make_request(question);
  const RequestId id = request.id;
  LM_CHECK(loaded.engine->submit(std::move(request)));
  Answer answer;
  bool last = false;
  while (!last) {
    if (interrupt_flag().load() && !answer.interrupted) {
      answer.interrupted = true;
      loaded.engine->cancel(id);
    }
    std::optional<Event> event = loaded.engine->next(id, kPoll);
    if (!event) {
      continue;
    }
    auto taken = take(*event, answer, sink);
    if (!taken) {
      if (answer.interrupted) {
        break;
      }
      return std::unexpected(std::move(taken).error());
    }
    last = *taken;
  }
  if (answer.interrupted) {
    interrupt_flag().store(false);
  }
  answer.stats.truncated_tokens += question.dropped_tokens;
  answer.total_time = Clock::now() - begin;
  return answer;
}

std::size_t count_tokens(const LoadedModel& loaded, const Prompt& prompt) {
  const Tokenizer* tokenizer = loaded.model->tokenizer();
  return tokenizer == nullptr ? 0 : encode_prompt(*tokenizer, prompt, true).size();
}

std::string statistics_text(const LoadedModel& loaded, const Answer& answer) {
  const Stats& stats = answer.stats;
  std::string text;
  const auto line = [&text](std::string_view label, const std::string& value, bool shown) {
    if (shown) {
      text += fmt::format("{:<22}{}\n", label, value);
    }
  };
  const auto tokens = [](std::uint32_t n) { return fmt::format("{} token(s)", n); };
  const auto rate = [](double per_s) { return fmt::format("{:.2f} tokens/s", per_s); };
  const std::uint32_t evaluated =
      stats.prompt_tokens > stats.cached_tokens ? stats.prompt_tokens - stats.cached_tokens : 0;
  const std::chrono::nanoseconds total = answer.total_time + loaded.load_time;
  line("total duration:", format_duration(total), total.count() > 0);
  line("load duration:", format_duration(loaded.load_time), loaded.load_time.count() > 0);
  line("prompt eval count:", tokens(stats.prompt_tokens), stats.prompt_tokens > 0);
  line("cached prompt:", tokens(stats.cached_tokens), stats.cached_tokens > 0);
  line("prompt eval duration:", format_duration(nanoseconds(stats.prompt_ns)), stats.prompt_ns > 0);
  line("prompt eval rate:", rate(per_second(evaluated, stats.prompt_ns)),
       stats.prompt_ns > 0 && evaluated > 0);
  line("eval count:", tokens(stats.generated_tokens), stats.generated_tokens > 0);
  line("eval duration:", format_duration(nanoseconds(stats.generation_ns)),
       stats.generation_ns > 0);
  line("eval rate:", rate(per_second(stats.generated_tokens, stats.generation_ns)),
       stats.generation_ns > 0 && stats.generated_tokens > 0);
  line(
      "drafted tokens:", fmt::format("{} of {} right", stats.accepted_tokens, stats.drafted_tokens),
      stats.drafted_tokens > 0);
  line("backend:", loaded.backend, !loaded.backend.empty());
  line("context:", fmt::format("{}/{}", stats.context_used, stats.context_size),
       stats.context_size > 0);
  return text;
}

nlohmann::ordered_json answer_json(const LoadedModel& loaded, const Answer& answer) {
  const Stats& stats = answer.stats;
  const std::int64_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  nlohmann::ordered_json document{
      {"model", loaded.name}, {"created_at", format_time(now)}, {"response", answer.content}};
  if (!answer.thinking.empty()) {
    document["thinking"] = answer.thinking;
  }
  for (const ToolCall& call : answer.tool_calls) {
    document["tool_calls"].push_back(nlohmann::ordered_json::parse(tool_call_json(call)));
  }
  document["done"] = true;
  document["done_reason"] = answer.finish == Finish::stop     ? "stop"
                            : answer.finish == Finish::length ? "length"
                                                              : "cancelled";
  document["total_duration"] = (answer.total_time + loaded.load_time).count();
  document["load_duration"] = loaded.load_time.count();
  document["prompt_eval_count"] = stats.prompt_tokens;
  document["prompt_eval_duration"] = stats.prompt_ns;
  document["eval_count"] = stats.generated_tokens;
  document["eval_duration"] = stats.generation_ns;
  document["prompt_cached_count"] = stats.cached_tokens;
  if (stats.truncated_tokens > 0) {
    document["truncated"] = stats.truncated_tokens;
  }
  return document;
}

}  // namespace lm::cmd
