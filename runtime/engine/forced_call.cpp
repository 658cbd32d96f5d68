#include "runtime/engine/forced_call.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "runtime/chat/call_form.h"
#include "runtime/grammar/schema_document.h"
#include "runtime/grammar/token_trie.h"

namespace lm {
namespace {

using Json = nlohmann::ordered_json;
using grammar::Part;
using grammar::PartGraph;

/// Puts parts one behind the other. `ends` are the parts that what comes next follows.
class Outline {
 public:
  explicit Outline(const Tokenizer& tokenizer) {
    const Vocab& vocab = tokenizer.vocab();
    for (std::size_t i = 0; i < vocab.size(); ++i) {
      const auto id = static_cast<Token>(i);
      if (vocab.is_control(id) && !vocab.is_end_of_generation(id) && vocab.text(id).size() > 2) {
        marks_.emplace_back(vocab.text(id), id);
      }
    }
    // The longest first: one may begin another.
    std::ranges::sort(marks_, [](const auto& a, const auto& b) {
      return a.first.size() != b.first.size() ? a.first.size() > b.first.size() : a.first < b.first;
    });
  }

  using Ends = std::vector<std::uint32_t>;
  static constexpr std::uint32_t kBeginning = 0xFFFFFFFE;

  /// Appends a part behind `ends`; what follows it is told later.
  Ends add(const Ends& ends, Part part) {
    const auto number = static_cast<std::uint32_t>(graph.parts.size());
    graph.parts.push_back(std::move(part));
    link(ends, number);
    return {number};
  }
  /// Text in which control tokens are spelt.
  Ends spell(Ends ends, std::string_view text) {
    while (!text.empty()) {
      std::size_t at = text.size();
      const std::pair<std::string, Token>* found = nullptr;
      for (const auto& mark : marks_) {
        const std::size_t place = text.find(mark.first);
        if (place < at) {
          at = place;
          found = &mark;
        }
      }
      if (at > 0) {
        ends = add(ends, {.kind = Part::Kind::text, .text = std::string(text.substr(0, at))});
      }
      if (found != nullptr) {
        ends =
            add(ends, {.kind = Part::Kind::bytes, .text = grammar::TokenTrie::mark(found->second)});
        at += found->first.size();
      }
      text.remove_prefix(at);
    }
    return ends;
  }
  void link(const Ends& ends, std::uint32_t next) {
    for (const std::uint32_t end : ends) {
      auto& list = end == kBeginning ? graph.first : graph.parts[end].next;
      list.push_back(next);
    }
  }

  PartGraph graph;

 private:
  std::vector<std::pair<std::string, Token>> marks_;
};

struct Tool {
  std::string name;
  Json parameters = Json::object();
};

std::vector<Tool> tools_of(std::string_view tools_json) {
  std::vector<Tool> out;
  const Json tools = Json::parse(tools_json, nullptr, false);
  if (!tools.is_array()) {
    return out;
  }
  for (const Json& entry : tools) {
    const bool wrapped =
        entry.is_object() && entry.contains("function") && entry["function"].is_object();
    const Json& function = wrapped ? entry["function"] : entry;
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string()) {
      continue;
    }
    Tool tool{.name = function["name"].get<std::string>()};
    for (const char* key : {"parameters", "input_schema"}) {
      if (function.contains(key) && function[key].is_object()) {
        tool.parameters = function[key];
      }
    }
    out.push_back(std::move(tool));
  }
  return out;
}

/// References of a schema that has moved to `base`.
void move_references(Json& schema, const std::string& base) {
  if (schema.is_object()) {
    for (auto& [key, value] : schema.items()) {
      if (key == "$ref" && value.is_string()) {
        const std::string target = value.get<std::string>();
        if (target == "#" || target.starts_with("#/")) {
          value = "#" + base + target.substr(1);
        }
      } else if (key != "enum" && key != "const") {
        move_references(value, base);
      }
    }
  } else if (schema.is_array()) {
    for (Json& value : schema) {
      move_references(value, base);
    }
  }
}

/// Arguments can be written one by one when the schema says no more than which there are.
bool is_plain_object(const Json& schema) {
  constexpr std::string_view kPlain[] = {
      "type",        "properties", "required", "additionalProperties",
      "description", "title",      "$defs",    "$schema",
      "definitions", "default",    "strict"};
  if (!schema.contains("properties") || !schema["properties"].is_object()) {
    return false;
  }
  for (const auto& [key, value] : schema.items()) {
    if (std::ranges::find(kPlain, key) == std::end(kPlain)) {
      return false;
    }
  }
  const auto required = schema.find("required");
  return required == schema.end() || std::ranges::all_of(*required, [&](const Json& name) {
           return name.is_string() && schema["properties"].contains(name.get<std::string>());
         });
}

/// A name that no tag or quote could be taken for.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.find_first_of(" \t\r\n<>{}\"'=:,()") == std::string_view::npos;
}

bool is_required(const Json& schema, const std::string& name) {
  const auto required = schema.find("required");
  return required != schema.end() && std::ranges::find(*required, Json(name)) != required->end();
}

/// The arguments of one tool, pair by pair in the order of the schema.
Outline::Ends add_pairs(Outline& outline, const Outline::Ends& before, const ArgumentPairs& pairs,
                        const Json& schema, const std::string& pointer) {
  // What may stand in front of the next pair: nothing written yet, or something.
  Outline::Ends none = before;
  Outline::Ends some;
  for (const auto& [name, rule] : schema["properties"].items()) {
    const std::string place = grammar::child_pointer(pointer + "/properties", name);
    const bool is_string =
        pairs.raw_strings && rule.is_object() && rule.contains("type") && rule["type"] == "string";
    const std::string tail = pairs.closes_by_name ? name + ">" : std::string();
    const std::string close = (is_string ? pairs.string_close : pairs.value_close) + tail;
    const std::string key =
        pairs.key_open + name + (is_string ? pairs.string_open : pairs.value_open);
    Outline::Ends begin = none;
    if (pairs.between.empty()) {
      begin.insert(begin.end(), some.begin(), some.end());
    } else if (!some.empty()) {
      const Outline::Ends separated = outline.spell(some, pairs.between);
      begin.insert(begin.end(), separated.begin(), separated.end());
    }
    Outline::Ends written = outline.spell(begin, key);
    written = outline.add(
        written, is_string ? Part{.kind = Part::Kind::raw, .text = place, .until = pairs.until}
                           : Part{.kind = Part::Kind::value, .text = place});
    written = outline.spell(written, close);
    if (is_required(schema, name)) {
      none.clear();
      some = written;
    } else {
      some.insert(some.end(), written.begin(), written.end());
    }
  }
  some.insert(some.end(), none.begin(), none.end());
  return some;
}

std::string json_escaped(const std::string& text) {
  const std::string json =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return json.substr(1, json.size() - 2);
}

}  // namespace

Result<PartGraph> call_parts(const Request& request, const Tokenizer& tokenizer) {
  std::vector<Tool> tools = tools_of(request.tools_json);
  if (request.tool_choice == ToolChoice::named) {
    std::erase_if(tools, [&](const Tool& tool) { return tool.name != request.tool_name; });
  }
  if (tools.empty()) {
    return fail(ErrorCode::invalid_argument, "tool_choice",
                request.tool_choice == ToolChoice::named
                    ? fmt::format("names '{}', which is not among the tools", request.tool_name)
                    : std::string("asks for a call, and no tools are offered"));
  }
  const CallForm form = call_form({.family = request.family,
                                   .style = request.call_style,
                                   .think_open = {},
                                   .think_close = {},
                                   .starts_in_thinking = false,
                                   .tools_json = {}});
  Outline outline(tokenizer);
  outline.graph.plain_escapes = form.plain_escapes;
  Outline::Ends start = outline.add({Outline::kBeginning}, {.kind = Part::Kind::blank, .text = {}});
  if (request.family == OutputFamily::harmony) {
    const Outline::Ends turn = outline.spell(start, "<|start|>assistant");
    start.insert(start.end(), turn.begin(), turn.end());
  }
  Outline::Ends all;
  Json schemas = Json::object();
  schemas["tools"] = Json::array();
  for (std::size_t i = 0; i < tools.size(); ++i) {
    Json parameters = tools[i].parameters;
    const std::string pointer = fmt::format("/tools/{}", i);
    move_references(parameters, pointer);
    if (parameters.empty()) {
      parameters["maxProperties"] = 0;
    }
    if (!parameters.contains("type")) {
      parameters["type"] = "object";
    }
    const auto names_are_plain = [&] {
      for (const auto& [name, rule] : parameters["properties"].items()) {
        if (!is_plain_name(name)) {
          return false;
        }
      }
      return true;
    };
    const bool in_pairs = form.has_pairs && is_plain_object(parameters) && names_are_plain();
    const CallForm& way = form.has_pairs && !in_pairs ? form.otherwise[0] : form;
    Outline::Ends ends = outline.spell(
        start, way.open + (way.is_json ? json_escaped(tools[i].name) : tools[i].name) + way.middle);
    ends = in_pairs ? add_pairs(outline, ends, form.pairs, parameters, pointer)
                    : outline.add(ends, {.kind = Part::Kind::value, .text = pointer});
    ends = outline.spell(ends, way.close);
    all.insert(all.end(), ends.begin(), ends.end());
    schemas["tools"].push_back(std::move(parameters));
  }
  outline.link(all, grammar::kPartsEnd);
  outline.graph.schemas = schemas.dump(-1, ' ', false, Json::error_handler_t::replace);
  return std::move(outline.graph);
}

PartGraph final_channel_parts(const std::string& schema, const Tokenizer& tokenizer) {
  Outline outline(tokenizer);
  Outline::Ends start = {Outline::kBeginning};
  const Outline::Ends turn = outline.spell(start, "<|start|>assistant");
  start.insert(start.end(), turn.begin(), turn.end());
  Outline::Ends ends = outline.spell(start, "<|channel|>final<|message|>");
  ends = outline.add(ends, {.kind = Part::Kind::value, .text = {}});
  outline.link(ends, grammar::kPartsEnd);
  outline.graph.schemas = schema;
  return std::move(outline.graph);
}

}  // namespace lm
