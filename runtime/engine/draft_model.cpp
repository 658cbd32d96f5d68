#include "runtime/engine/draft_model.h"

#include <algorithm>

#include <fmt/core.h>

namespace lm {

Result<void> check_draft(const Model& target, const Model& draft) {
  const std::string name = draft.file().name();
  if (target.tokenizer() == nullptr || draft.tokenizer() == nullptr) {
    return fail(ErrorCode::missing, name, "drafting needs vocabularies in both models");
  }
  const Vocab& a = target.tokenizer()->vocab();
  const Vocab& b = draft.tokenizer()->vocab();
  if (a.bytes != b.bytes || a.text_begin != b.text_begin) {
    return fail(ErrorCode::invalid_argument, name,
                fmt::format("has another vocabulary ({} tokens) than {} ({} tokens)", b.size(),
                            target.file().name(), a.size()),
                "take a smaller model of the same family");
  }
  return {};
}

Result<std::unique_ptr<DraftModel>> DraftModel::create(std::shared_ptr<const Model> model,
                                                       const SessionOptions& options) {
  const std::string name = model->file().name();
  LM_TRY(auto session, Session::create(std::move(model), options));
  if (session->has_state()) {
    return fail(ErrorCode::unsupported, name,
                "has recurrent layers, which can't take a wrong guess back",
                "take a draft model of attention layers only");
  }
  return std::unique_ptr<DraftModel>(new DraftModel(std::move(session)));
}

DraftModel::State* DraftModel::state_of(RequestId id, const SamplerParams& params) {
  State& state = states_[id];
  if (state.sequence == nullptr) {
    auto sequence = session_->new_sequence();
    if (!sequence) {
      states_.erase(id);
      return nullptr;
    }
    state.sequence = std::move(*sequence);
    // Penalties belong to the text that the target makes; a draft without them is only less often
    // right. Its random numbers must be others than the target's.
    SamplerParams own;
    own.temperature = params.temperature;
    own.top_k = params.top_k;
    own.top_p = params.top_p;
    own.min_p = params.min_p;
    own.typical_p = params.typical_p;
    own.seed = params.seed < 0 ? -1 : params.seed ^ 0x5bd1e995;
    state.sampler = std::make_unique<Sampler>(own);
  }
  return &state;
}

/// Evaluates tokens; logits_ then holds those after the last one.
bool DraftModel::feed(State& state, std::span<const Token> tokens, const StopFlag& stop) {
  auto ran = session_->evaluate(*state.sequence, tokens, false, stop, logits_);
  if (!ran && ran.error().code == ErrorCode::out_of_memory && states_.size() > 1) {
    // Pages of other requests' drafts go first; they are evaluated again when their turn comes.
    for (auto& [id, other] : states_) {
      if (&other != &state) {
        other.sequence->clear();
        other.tokens.clear();
      }
    }
    tokens = tokens.subspan(state.sequence->length() - state.tokens.size());
    ran = session_->evaluate(*state.sequence, tokens, false, stop, logits_);
  }
  if (!ran) {
    state.sequence->clear();
    state.tokens.clear();
    return false;
  }
  return true;
}

DraftModel::Draft DraftModel::propose(RequestId id, const SamplerParams& params,
                                      std::span<const Token> text, std::uint32_t n,
                                      const StopFlag& stop) {
  Draft draft;
  State* const state = state_of(id, params);
  if (state == nullptr || text.empty() || text.size() + n > session_->n_ctx()) {
    return draft;
  }
  // Keep what agrees with the text, but evaluate its last token for the logits after it.
  const std::size_t limit = std::min(state->tokens.size(), text.size() - 1);
  const auto same = static_cast<std::size_t>(
      std::mismatch(state->tokens.begin(),
                    state->tokens.begin() + static_cast<std::ptrdiff_t>(limit), text.begin())
          .first -
      state->tokens.begin());
  if (!state->sequence->roll_back(static_cast<std::uint32_t>(state->tokens.size() - same))) {
    state->sequence->clear();
  }
  state->tokens.resize(state->sequence->length());
  const auto fresh = text.subspan(state->tokens.size());
  if (!feed(*state, fresh, stop)) {
    return draft;
  }
  state->tokens.insert(state->tokens.end(), fresh.begin(), fresh.end());
  const Vocab& vocab = session_->model().tokenizer()->vocab();
  for (;;) {
    const auto weights = state->sampler->distribution(logits_);
    if (!weights) {
      return draft;
    }
    const Token token = state->sampler->draw(*weights);
    if (vocab.is_end_of_generation(token)) {
      return draft;
    }
    draft.tokens.push_back(token);
    draft.q.emplace_back(weights->begin(), weights->end());
    if (draft.tokens.size() == n || !feed(*state, std::span(&token, 1), stop)) {
      return draft;
    }
    state->tokens.push_back(token);
  }
}

}  // namespace lm
