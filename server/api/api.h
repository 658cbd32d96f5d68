/// The whole road of a request between transport and engine, as pure functions: body -> `Asked`
/// (names the model) -> `Work` (commands for its engine, and the answer that their events become).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api/answer.h"
#include "server/api/api_error.h"
#include "server/api/asked.h"
#include "server/api/model_facts.h"

namespace lm::api {

/// The endpoint of a path without its query, or none. All take POST.
std::optional<Endpoint> endpoint_of(std::string_view path);
Dress dress_of(Endpoint endpoint);

/// Reads a body of untrusted bytes. Errors: 400 naming the field; nothing is ever changed silently.
ApiResult<Asked> read(Endpoint endpoint, std::string_view body);

/// What a request wants of loading, with the parameters of the stored model under it.
LoadAsked load_of(const Asked& asked, const ModelFacts& facts);

/// What belongs to this request alone, from outside.
struct Circumstances {
  Moment arrived;
  std::uint64_t id_seed = 0;  ///< random; ids of answers and calls follow from it
};

struct Work {
  /// For the model's engine, all at once or some at a time, in any order. Their ids are 0: the
  /// carrier numbers them and keeps the index as the job. Empty: `answer->begin` says it all.
  std::vector<Command> commands;
  std::unique_ptr<Answer> answer;
};

/// Renders, counts, cuts and splits. Takes as long as tokenizing the prompt: call it off the
/// network's thread. `facts` of a `Purpose::unload` may be empty. Errors: 400
/// context_length_exceeded with both numbers, what the model can't do, what its template refuses;
/// 500 for a stored model whose parameters or template are bad.
ApiResult<Work> plan(const Asked& asked, const ModelFacts& facts, const Circumstances& here);

}  // namespace lm::api
