/// Members that several APIs share, read into `Asked`.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "server/api/asked.h"
#include "server/api/body_json.h"

namespace lm::api {

/// "model"; missing or empty: "model is required".
void read_model(FieldReader& body, Asked& asked);
/// "keep_alive": seconds, or a duration as text; negative: forever.
void read_keep_alive(FieldReader& body, Asked& asked);
/// One option by its API name from the member `key`, checked with its range.
void read_option(FieldReader& object, const char* key, const char* option, Asked& asked);
/// "options": all of them; names nobody knows are ignored with a warning.
void read_options(FieldReader& body, Asked& asked);
/// Options that clients put beside `options`; what `options` holds counts.
void read_top_level_options(FieldReader& body, std::span<const std::string_view> names,
                            Asked& asked);
/// "stop" or a member like it, a string or an array, unless `options` set it.
void read_stop(FieldReader& body, const char* key, Asked& asked);
/// "think": true, false or a level.
void read_think(FieldReader& body, Asked& asked);
/// A level of effort in OpenAI's words; "none" is no thinking.
void read_effort(FieldReader& object, const char* key, Asked& asked);
/// "logprobs" and "top_logprobs".
void read_logprobs(FieldReader& body, Asked& asked);
/// "logit_bias": ids and numbers.
void read_logit_bias(FieldReader& body, Asked& asked);
/// A JSON schema as the format of the content.
void set_schema(const Json& schema, Asked& asked);
/// {type: text | json_object | json_schema, …}; the schema lies in `json_schema` or beside.
void read_response_format(FieldReader& body, const char* key, Asked& asked);
/// Members that have no effect here; each that is set, and not to a value that asks for nothing,
/// gives a warning.
void warn_of_ignored(FieldReader& body, std::span<const std::string_view> names, Asked& asked);
/// What of the options concerns loading; call when all options were read.
void take_load_options(FieldReader& body, Asked& asked);

}  // namespace lm::api
