/// Drafts by a smaller model with the same vocabulary.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "runtime/engine/messages.h"
#include "runtime/engine/session.h"
#include "runtime/sample/sampler.h"

namespace lm {

/// Why `draft` can't draft for `target` (another vocabulary), or nothing.
Result<void> check_draft(const Model& target, const Model& draft);

/// Runs the draft model beside the target: it keeps a sequence per request, brings it up to date
/// with the text and samples on from there. Source: speculative decoding (Leviathan et al. 2023).
class DraftModel {
 public:
  /// Errors: those of Session::create; unsupported when the draft model has recurrent state, which
  /// can't forget wrong guesses.
  static Result<std::unique_ptr<DraftModel>> create(std::shared_ptr<const Model> model,
                                                    const SessionOptions& options);

  struct Draft {
    std::vector<Token> tokens;
    std::vector<std::vector<Weighted>> q;  ///< [token] what it was drawn from
  };
  /// Up to `n` tokens after `text` with the request's temperature and cuts. An empty draft when
  /// something stands in the way (no memory, stopped, the draft model's context is full).
  Draft propose(RequestId id, const SamplerParams& params, std::span<const Token> text,
                std::uint32_t n, const StopFlag& stop);
  /// The request is over.
  void forget(RequestId id) { states_.erase(id); }

 private:
  struct State {
    std::unique_ptr<Sequence> sequence;
    std::vector<Token> tokens;  ///< in the sequence
    std::unique_ptr<Sampler> sampler;
  };
  explicit DraftModel(std::unique_ptr<Session> session) : session_(std::move(session)) {}
  State* state_of(RequestId id, const SamplerParams& params);
  bool feed(State& state, std::span<const Token> tokens, const StopFlag& stop);

  std::unique_ptr<Session> session_;
  std::map<RequestId, State> states_;
  std::vector<float> logits_;
};

}  // namespace lm
