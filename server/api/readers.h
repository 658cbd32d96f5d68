/// Bodies of each API become `Asked`. What is wrong is left in the reader's error.
#pragma once

#include "server/api/asked.h"
#include "server/api/body_json.h"

namespace lm::api {

void read_generate(FieldReader& body, Asked& asked);
void read_chat(FieldReader& body, Asked& asked);
void read_embed(FieldReader& body, Asked& asked);
void read_embeddings(FieldReader& body, Asked& asked);
void read_v1_chat(FieldReader& body, Asked& asked);
void read_v1_completions(FieldReader& body, Asked& asked);
void read_v1_embeddings(FieldReader& body, Asked& asked);
void read_v1_responses(FieldReader& body, Asked& asked);
void read_v1_rerank(FieldReader& body, Asked& asked);
/// Also for counting tokens, where `max_tokens` may be absent.
void read_anthropic(FieldReader& body, Asked& asked);

/// A member that is one text, many, one list of ids, or many of them (OpenAI's inputs).
void read_texts_or_ids(FieldReader& body, const char* key, std::vector<std::string>& texts,
                       std::vector<std::vector<Token>>& ids);

}  // namespace lm::api
