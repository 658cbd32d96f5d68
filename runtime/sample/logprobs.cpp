#include "runtime/sample/logprobs.h"

namespace lm {

TokenLogprobs token_logprobs(std::span<const float> logits, Token chosen, std::size_t n_top,
                             const Tokenizer& tokenizer, LogitScan& scan) {
  scan.scan(logits);
  const double all = scan.log_sum_exp();
  const auto entry = [&](Token id, float logit) {
    return TokenLogprob{id, static_cast<float>(static_cast<double>(logit) - all),
                        std::string(tokenizer.piece(id, true))};
  };
  TokenLogprobs result{entry(chosen, logits[static_cast<std::size_t>(chosen)]), {}};
  if (n_top > 0) {
    std::vector<Candidate> best;
    scan.top(n_top, best);
    for (const Candidate& candidate : best) {
      result.top.push_back(entry(candidate.id, candidate.logit));
    }
  }
  return result;
}

}  // namespace lm
