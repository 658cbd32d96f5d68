// Answers made of vectors: /api/embed, /api/embeddings, /v1/embeddings, /v1/rerank.
#include <algorithm>
#include <numeric>
#include <utility>

#include "server/api/answer_text.h"
#include "server/api/answers.h"

namespace lm::api {
namespace {

/// Gathers a vector a job, then writes one body.
class VectorAnswer : public Answer {
 public:
  VectorAnswer(AnswerBasis basis, std::size_t jobs)
      : basis_(std::move(basis)), vectors_(jobs), done_(jobs, false), left_(jobs) {}

  Output begin(Moment /*now*/) override { return {}; }
  Output ping(Moment /*now*/) override { return {}; }
  Output take(std::size_t job, Event event, Moment now) override {
    if (job >= vectors_.size() || done_[job]) {
      return {};
    }
    switch (event.kind) {
      case Event::Kind::embedding:
        vectors_[job] = std::move(event.embedding);
        return {};
      case Event::Kind::warning:
        basis_.warnings.push_back(std::move(event.text));
        return {};
      case Event::Kind::error: {
        ApiError error = api_error(event.error);
        if (vectors_.size() > 1) {
          error.message = "input[" + std::to_string(job) + "]: " + error.message;
        }
        return fail(error, now);
      }
      case Event::Kind::done:
        break;
      default:
        return {};
    }
    if (event.finish == Finish::cancelled) {
      return fail({499, "cancelled", "the request was stopped", ""}, now);
    }
    done_[job] = true;
    prompt_tokens_ += event.stats.prompt_tokens;
    truncated_ += event.stats.truncated_tokens;
    if (--left_ > 0) {
      return {};
    }
    if (truncated_ > 0) {
      basis_.warnings.push_back(std::to_string(truncated_) +
                                " tokens were cut from the ends of inputs longer than the context");
    }
    Output out;
    out.bytes = body(now);
    out.head = Head{200, Framing::whole, "application/json", warnings_header(basis_.warnings)};
    out.last = true;
    return out;
  }
  Output fail(const ApiError& error, Moment /*now*/) override {
    return {.head = Head{error.status, Framing::whole, "application/json", retry_headers(error)},
            .bytes = error_body(dress_of(basis_.endpoint), error),
            .last = true};
  }

 protected:
  virtual std::string body(Moment now) = 0;
  /// ',"truncated":N,"warnings":[…]', each only where there is one.
  std::string remarks() const {
    std::string text;
    if (truncated_ > 0) {
      text += ",\"truncated\":" + std::to_string(truncated_);
    }
    if (!basis_.warnings.empty()) {
      text += ",\"warnings\":" + dump(basis_.warnings);
    }
    return text;
  }

  AnswerBasis basis_;
  std::vector<std::vector<float>> vectors_;
  std::uint64_t prompt_tokens_ = 0;
  std::uint64_t truncated_ = 0;

 private:
  std::vector<bool> done_;
  std::size_t left_;
};

class EmbeddingAnswer final : public VectorAnswer {
 public:
  EmbeddingAnswer(AnswerBasis basis, std::size_t jobs, bool base64)
      : VectorAnswer(std::move(basis), jobs), base64_(base64) {}

 private:
  std::string body(Moment now) override {
    // Vectors are written by hand: a document of a million values costs many times their bytes.
    if (basis_.endpoint == Endpoint::embeddings) {
      return "{\"embedding\":" + vector_text(vectors_.front()) + remarks() + "}";
    }
    const bool native = basis_.endpoint == Endpoint::embed;
    std::string list;
    for (std::size_t i = 0; i < vectors_.size(); ++i) {
      list += i == 0 ? "" : ",";
      if (native) {
        list += vector_text(vectors_[i]);
        continue;
      }
      list += "{\"object\":\"embedding\",\"index\":" + std::to_string(i) + ",\"embedding\":";
      list += base64_ ? "\"" + vector_base64(vectors_[i]) + "\"" : vector_text(vectors_[i]);
      list += "}";
    }
    const std::string tokens = std::to_string(prompt_tokens_);
    if (native) {
      return "{\"model\":" + dump(basis_.model) + ",\"embeddings\":[" + list +
             "],\"total_duration\":" +
             std::to_string(now.steady_ns - basis_.here.arrived.steady_ns) +
             ",\"load_duration\":" + std::to_string(basis_.load_ns) +
             ",\"prompt_eval_count\":" + tokens + remarks() + "}";
    }
    return "{\"object\":\"list\",\"data\":[" + list + "],\"model\":" + dump(basis_.model) +
           ",\"usage\":{\"prompt_tokens\":" + tokens + ",\"total_tokens\":" + tokens + "}" +
           remarks() + "}";
  }

  bool base64_;
};

/// Documents by the cosine of their vectors to the query's, which have length 1.
class RerankAnswer final : public VectorAnswer {
 public:
  RerankAnswer(AnswerBasis basis, RerankAsked asked)
      : VectorAnswer(std::move(basis), asked.documents.size() + 1), asked_(std::move(asked)) {}

 private:
  std::string body(Moment /*now*/) override {
    std::vector<std::pair<double, std::size_t>> scores;
    for (std::size_t i = 0; i < asked_.documents.size(); ++i) {
      const auto& query = vectors_.front();
      const auto& document = vectors_[i + 1];
      const std::size_t n = std::min(query.size(), document.size());
      double sum = 0;
      for (std::size_t k = 0; k < n; ++k) {
        sum += static_cast<double>(query[k]) * static_cast<double>(document[k]);
      }
      scores.emplace_back(sum, i);
    }
    std::ranges::stable_sort(scores,
                             [](const auto& a, const auto& b) { return a.first > b.first; });
    if (asked_.top_n > 0 && asked_.top_n < scores.size()) {
      scores.resize(asked_.top_n);
    }
    Json results = Json::array();
    for (const auto& [score, index] : scores) {
      Json entry{{"index", index}, {"relevance_score", score}};
      if (asked_.return_documents) {
        entry["document"] = {{"text", asked_.documents[index]}};
      }
      results.push_back(std::move(entry));
    }
    Json body{{"model", basis_.model},
              {"results", std::move(results)},
              {"usage", {{"prompt_tokens", prompt_tokens_}, {"total_tokens", prompt_tokens_}}}};
    if (truncated_ > 0) {
      body["truncated"] = truncated_;
    }
    if (!basis_.warnings.empty()) {
      body["warnings"] = basis_.warnings;
    }
    return dump(body);
  }

  RerankAsked asked_;
};

}  // namespace

std::unique_ptr<Answer> make_embedding_answer(AnswerBasis basis, std::size_t texts, bool base64) {
  return std::make_unique<EmbeddingAnswer>(std::move(basis), texts, base64);
}

std::unique_ptr<Answer> make_rerank_answer(AnswerBasis basis, RerankAsked asked) {
  return std::make_unique<RerankAnswer>(std::move(basis), std::move(asked));
}

}  // namespace lm::api
