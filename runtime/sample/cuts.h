/// Cuts: each takes candidates sorted best first and leaves at least one of them.
#pragma once

#include <vector>

#include "runtime/sample/candidate.h"

namespace lm {

/// Probabilities of candidates sorted by logit, summing to 1. With `temperature` logits are divided
/// by it first.
std::vector<double> softmax(const std::vector<Candidate>& sorted, double temperature = 1.0);

/// Keeps the shortest prefix whose probability reaches `top_p`. Source: nucleus sampling (Holtzman
/// et al. 2020).
void cut_top_p(std::vector<Candidate>& sorted, double top_p);

/// The same for a shortlist of a vocabulary whose log of the sum of exp(logit) is `log_sum`. False:
/// the prefix is longer than the shortlist, which then stays as it is.
bool cut_top_p(std::vector<Candidate>& sorted, double top_p, double log_sum);

/// Keeps what is at least `min_p` times as likely as the best. Source: Nguyen et al. 2024.
void cut_min_p(std::vector<Candidate>& sorted, double min_p);

/// Keeps the tokens whose surprise is nearest to the expected one, until their probability reaches
/// `typical_p`. Source: locally typical sampling (Meister et al. 2022).
void cut_typical(std::vector<Candidate>& sorted, double typical_p);

/// Drops all tokens that are at least `threshold` likely but the least likely of them ("exclude top
/// choices", XTC): what remains is still plausible, and not the beaten track. The caller decides by
/// chance when to apply it.
void cut_xtc(std::vector<Candidate>& sorted, double threshold);

}  // namespace lm
