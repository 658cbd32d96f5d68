// A body becomes what it asks.
#include <array>
#include <utility>

#include "server/api/api.h"
#include "server/api/readers.h"
#include "server/api/shared_fields.h"

namespace lm::api {
namespace {

struct Row {
  std::string_view path;
  Endpoint endpoint;
  void (*read)(FieldReader& body, Asked& asked);
};

constexpr std::array kRows{
    Row{"/api/generate", Endpoint::generate, read_generate},
    Row{"/api/chat", Endpoint::chat, read_chat},
    Row{"/api/embed", Endpoint::embed, read_embed},
    Row{"/api/embeddings", Endpoint::embeddings, read_embeddings},
    Row{"/v1/chat/completions", Endpoint::v1_chat, read_v1_chat},
    Row{"/v1/completions", Endpoint::v1_completions, read_v1_completions},
    Row{"/v1/embeddings", Endpoint::v1_embeddings, read_v1_embeddings},
    Row{"/v1/responses", Endpoint::v1_responses, read_v1_responses},
    Row{"/v1/rerank", Endpoint::v1_rerank, read_v1_rerank},
    Row{"/v1/messages", Endpoint::messages, read_anthropic},
    Row{"/v1/messages/count_tokens", Endpoint::count_tokens, read_anthropic},
};

}  // namespace

std::optional<Endpoint> endpoint_of(std::string_view path) {
  for (const Row& row : kRows) {
    if (row.path == path) {
      return row.endpoint;
    }
  }
  return std::nullopt;
}

Dress dress_of(Endpoint endpoint) {
  for (const Row& row : kRows) {
    if (row.endpoint == endpoint) {
      return dress_of_path(row.path);
    }
  }
  return Dress::native;
}

ApiResult<Asked> read(Endpoint endpoint, std::string_view body) {
  LM_TRY(const Json document, parse_body(body));
  std::optional<ApiError> error;
  FieldReader reader(document, "", error);
  Asked asked;
  asked.endpoint = endpoint;
  read_model(reader, asked);
  for (const Row& row : kRows) {
    if (row.endpoint == endpoint && reader.ok()) {
      row.read(reader, asked);
    }
  }
  if (error) {
    return std::unexpected(std::move(*error));
  }
  return asked;
}

}  // namespace lm::api
