/// Plans of requests that make text.
#pragma once

#include "server/api/answers.h"
#include "server/api/api.h"

namespace lm::api {

/// A conversation (`ChatAsked`). Errors: those of `plan`.
ApiResult<Work> plan_chat(const Asked& asked, const ModelFacts& facts, AnswerBasis basis);
/// A bare text (`TextAsked`).
ApiResult<Work> plan_text(const Asked& asked, const ModelFacts& facts, AnswerBasis basis);

}  // namespace lm::api
