/// Messages and tools as the native and the OpenAI API write them.
#pragma once

#include <string>
#include <vector>

#include "server/api/asked.h"
#include "server/api/body_json.h"

namespace lm::api {

/// "messages". Content may be null or a list of parts; "developer" is a system message; images,
/// audio and files are refused. What an assistant's calls are called is filled in at the answers
/// that do not say it.
void read_messages(FieldReader& body, std::vector<Message>& messages);

/// Text of a string or of text parts; refuses what is no text. `name` names the field.
std::string content_text(FieldReader& owner, const char* key);

/// "tools": [{type: "function", function: {name, description, parameters}}].
void read_tools(FieldReader& body, ToolsAsked& tools);
/// "tool_choice": none, auto, required, or one function by name.
void read_tool_choice(FieldReader& body, ToolsAsked& tools);
/// One tool in the form that templates and forced calls take.
Json tool_json(const std::string& name, const std::string& description, const Json* parameters);
/// "none": the model isn't told of the tools at all. A choice without tools, or one that names no
/// tool, is an error.
void settle_tool_choice(FieldReader& body, const std::string& choice, ToolsAsked& tools);

/// Gives tools' answers the names and ids of the calls they belong to: by id, else in order.
void match_tool_answers(std::vector<Message>& messages);

}  // namespace lm::api
