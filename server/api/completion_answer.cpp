// Answers of /v1/completions.
#include <algorithm>
#include <numeric>
#include <utility>

#include "server/api/openai_frames.h"
#include "server/api/text_answer.h"

namespace lm::api {
namespace {

class CompletionAnswer final : public TextAnswer {
 public:
  CompletionAnswer(AnswerBasis given, CompletionExtras extras)
      : TextAnswer(std::move(given), extras.prompts * extras.best_of, Framing::sse),
        extras_(std::move(extras)),
        offsets_(choices().size()),
        id_(ids().next("cmpl-")) {}

 protected:
  std::string opening(Moment /*now*/) override {
    std::string frames;
    for (Choice& choice : choices()) {
      if (const std::string text = echo(choice.index); !text.empty()) {
        offsets_[choice.index] = text.size();
        frames += chunk(choice.index, text, {}, nullptr);
      }
    }
    return frames;
  }
  std::string piece(Choice& choice, const Event& event, Moment /*now*/) override {
    return event.kind == Event::Kind::content
               ? chunk(choice.index, event.text, event.logprobs, nullptr)
               : std::string();
  }
  std::string call(Choice& /*choice*/, const ToolCall& /*call*/, Moment /*now*/) override {
    return {};
  }
  std::string ending(Choice& choice, Moment /*now*/) override {
    return chunk(choice.index, {}, {}, reason(choice));
  }
  std::string closing(Moment /*now*/) override {
    std::string frames;
    if (basis().include_usage) {
      Json last = head();
      last["choices"] = Json::array();
      last["usage"] = openai_usage(prompt_tokens(), generated_tokens(), cached_tokens());
      frames = sse_frame({}, last);
    }
    return frames + "data: [DONE]\n\n";
  }
  std::string error_frame(const ApiError& error) override {
    return "data: " + error_body(Dress::openai, error) + "\n\n";
  }
  Json whole(Moment /*now*/) override {
    Json body = head();
    body["choices"] = Json::array();
    for (std::size_t prompt = 0; prompt < extras_.prompts; ++prompt) {
      for (const std::size_t job : best_of(prompt)) {
        const Choice& choice = choices()[job];
        const std::string before = echo(job);
        offsets_[job] = before.size();
        Json entry{{"index", body["choices"].size()},
                   {"text", before + choice.content},
                   {"logprobs", nullptr},
                   {"finish_reason", reason(choice)}};
        if (extras_.logprobs) {
          entry["logprobs"] = logprobs_of(job, choice.logprobs);
        }
        body["choices"].push_back(std::move(entry));
      }
    }
    body["usage"] = openai_usage(prompt_tokens(), generated_tokens(), cached_tokens());
    add_remarks(body);
    return body;
  }

 private:
  static Json reason(const Choice& choice) {
    return choice.finish == Finish::length ? "length" : "stop";
  }
  Json head() const {
    return {{"id", id_},
            {"object", "text_completion"},
            {"created", unix_seconds(basis().here.arrived)},
            {"model", basis().model},
            {"system_fingerprint", kFingerprint}};
  }
  const std::string& echo(std::size_t job) const {
    static const std::string nothing;
    return extras_.echoes.empty() ? nothing : extras_.echoes[job / extras_.best_of];
  }
  std::string chunk(std::size_t index, const std::string& text,
                    const std::vector<TokenLogprobs>& logprobs, const Json& finish) {
    Json frame = head();
    Json entry{{"index", index}, {"text", text}, {"finish_reason", finish}, {"logprobs", nullptr}};
    if (!logprobs.empty() && extras_.logprobs) {
      entry["logprobs"] = logprobs_of(index, logprobs);
    }
    frame["choices"] = Json::array({std::move(entry)});
    if (!finish.is_null()) {
      add_remarks(frame);
    }
    return sse_frame({}, frame);
  }
  void add_remarks(Json& frame) const {
    if (dropped_tokens() > 0) {
      frame["truncated"] = dropped_tokens();
    }
    if (!warnings().empty()) {
      frame["warnings"] = warnings();
    }
  }
  /// The older form: lists beside each other.
  Json logprobs_of(std::size_t job, const std::vector<TokenLogprobs>& logprobs) {
    Json out{{"tokens", Json::array()},
             {"token_logprobs", Json::array()},
             {"top_logprobs", Json::array()},
             {"text_offset", Json::array()}};
    for (const TokenLogprobs& token : logprobs) {
      out["tokens"].push_back(token.chosen.bytes);
      out["token_logprobs"].push_back(token.chosen.logprob);
      Json top = Json::object();
      for (const TokenLogprob& other : token.top) {
        top[other.bytes] = other.logprob;
      }
      out["top_logprobs"].push_back(std::move(top));
      out["text_offset"].push_back(offsets_[job]);
      offsets_[job] += token.chosen.bytes.size();
    }
    return out;
  }
  /// Jobs of a prompt, the likeliest texts first, as many as were asked for.
  std::vector<std::size_t> best_of(std::size_t prompt) {
    std::vector<std::size_t> jobs(extras_.best_of);
    std::iota(jobs.begin(), jobs.end(), prompt * extras_.best_of);
    if (extras_.best_of > extras_.n) {
      const auto mean = [this](std::size_t job) {
        const auto& list = choices()[job].logprobs;
        double sum = 0;
        for (const TokenLogprobs& token : list) {
          sum += static_cast<double>(token.chosen.logprob);
        }
        return list.empty() ? -1e9 : sum / static_cast<double>(list.size());
      };
      std::ranges::stable_sort(jobs, std::ranges::greater{}, mean);
      jobs.resize(extras_.n);
    }
    return jobs;
  }

  CompletionExtras extras_;
  std::vector<std::size_t> offsets_;  ///< of the next token's text, a choice
  std::string id_;
};

}  // namespace

std::unique_ptr<Answer> make_completion_answer(AnswerBasis basis, CompletionExtras extras) {
  return std::make_unique<CompletionAnswer>(std::move(basis), std::move(extras));
}

}  // namespace lm::api
