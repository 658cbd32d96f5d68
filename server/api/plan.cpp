// What was asked, with a model: commands for its engine, and the answer to be made of their events.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "server/api/answers.h"
#include "server/api/api.h"
#include "server/api/chat_plan.h"

namespace lm::api {
namespace {

ApiError missing_ability(const ModelFacts& facts, std::string_view ability) {
  return {400, "unsupported", fmt::format("\"{}\" does not support {}", facts.name, ability),
          "model"};
}

Embed embed_of(const std::string& text, const EmbedAsked& asked, bool normalize) {
  Embed embed;
  PromptSegment segment;
  segment.text = text;
  embed.prompt.push_back(std::move(segment));
  embed.truncate = asked.truncate;
  embed.dimensions = asked.dimensions;
  embed.normalize = normalize;
  return embed;
}

ApiResult<Work> plan_embedding(const Asked& asked, const ModelFacts& facts, AnswerBasis basis) {
  const auto& what = std::get<EmbedAsked>(asked.what);
  if (!facts.embeds) {
    return std::unexpected(missing_ability(facts, "embeddings"));
  }
  // Only the oldest endpoint gives a model's vectors as they are.
  const bool normalize = asked.endpoint != Endpoint::embeddings || facts.normalizes;
  Work work;
  for (const std::string& text : what.texts) {
    work.commands.emplace_back(embed_of(text, what, normalize));
  }
  for (const std::vector<Token>& ids : what.ids) {
    Embed embed = embed_of({}, what, normalize);
    embed.prompt.clear();
    embed.ids = ids;
    work.commands.emplace_back(std::move(embed));
  }
  work.answer = make_embedding_answer(std::move(basis), work.commands.size(), what.base64);
  return work;
}

ApiResult<Work> plan_rerank(const Asked& asked, const ModelFacts& facts, AnswerBasis basis) {
  const auto& what = std::get<RerankAsked>(asked.what);
  if (!facts.embeds) {
    return std::unexpected(missing_ability(facts, "rerank"));
  }
  basis.warnings.emplace_back(
      "relevance_score is the cosine of embeddings: this is no ranking model");
  Work work;
  work.commands.emplace_back(embed_of(what.query, {}, true));
  for (const std::string& document : what.documents) {
    work.commands.emplace_back(embed_of(document, {}, true));
  }
  work.answer = make_rerank_answer(std::move(basis), what);
  return work;
}

Work ready(AnswerBasis basis, std::function<Json(const AnswerBasis&, Moment)> body) {
  Work work;
  work.answer = make_ready_answer(std::move(basis), std::move(body));
  return work;
}

}  // namespace

LoadAsked load_of(const Asked& asked, const ModelFacts& facts) {
  LoadAsked load = asked.load;
  GenerationOptions stored;
  // Bad parameters are the plan's to refuse.
  if (!stored.set_all(facts.parameters)) {
    return load;
  }
  const auto fill = [](auto& wanted, const auto& known) {
    if (!wanted) {
      wanted = known;
    }
  };
  fill(load.n_ctx, stored.n_ctx);
  fill(load.n_batch, stored.n_batch);
  fill(load.n_threads, stored.n_threads);
  fill(load.draft_tokens, stored.draft_tokens);
  return load;
}

ApiResult<Work> plan(const Asked& asked, const ModelFacts& facts, const Circumstances& here) {
  AnswerBasis basis;
  basis.endpoint = asked.endpoint;
  basis.model = asked.model;
  basis.stream = asked.stream;
  basis.include_usage = asked.include_usage;
  basis.warnings = asked.warnings;
  basis.here = here;
  basis.load_ns = facts.load_ns;
  if (asked.purpose == Purpose::load || asked.purpose == Purpose::unload) {
    const bool unload = asked.purpose == Purpose::unload;
    return ready(std::move(basis), [unload](const AnswerBasis& known, Moment now) {
      return native_load_body(known, unload, now);
    });
  }
  if (std::holds_alternative<EmbedAsked>(asked.what)) {
    return plan_embedding(asked, facts, std::move(basis));
  }
  if (std::holds_alternative<RerankAsked>(asked.what)) {
    return plan_rerank(asked, facts, std::move(basis));
  }
  const bool chats = std::holds_alternative<ChatAsked>(asked.what);
  if (facts.embeds || facts.tokenizer == nullptr || facts.format == nullptr) {
    return std::unexpected(missing_ability(facts, chats ? "chat" : "generate"));
  }
  return chats ? plan_chat(asked, facts, std::move(basis))
               : plan_text(asked, facts, std::move(basis));
}

}  // namespace lm::api
