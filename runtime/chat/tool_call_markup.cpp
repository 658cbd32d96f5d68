// Calls whose parameters are tags. Values have no types there: what the tool's schema says is a
// string stays one, else what reads as JSON is JSON.
#include <algorithm>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/chat/json_scanner.h"
#include "runtime/chat/tool_call_reader.h"

namespace lm {
namespace {

using Json = nlohmann::ordered_json;
constexpr auto npos = std::string_view::npos;

/// One line break at each end belongs to the layout.
std::string_view without_line_breaks(std::string_view text) {
  if (text.starts_with('\n')) {
    text.remove_prefix(1);
  }
  if (text.ends_with('\n')) {
    text.remove_suffix(1);
  }
  return text;
}

/// Nesting is bounded before anything recurses.
bool is_shallow(std::string_view text) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  for (const char c : text) {
    depth += c == '[' || c == '{' ? 1 : 0;
    depth -= (c == ']' || c == '}') && depth > 0 ? 1 : 0;
    deepest = std::max(deepest, depth);
  }
  return deepest <= JsonScanner::kMaxDepth;
}

Json value_of(std::string_view text, bool is_string) {
  if (!is_string && is_shallow(text)) {
    if (Json json = Json::parse(trimmed(text), nullptr, false); !json.is_discarded()) {
      return json;
    }
  }
  return std::string(text);
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<ReadCalls> made(std::string_view name, const Json& arguments, std::string_view rest) {
  if (name.empty() || name.size() > 256 || name.find_first_of(" \t\r\n<>{}\"") != npos) {
    return std::nullopt;
  }
  ReadCalls read;
  read.calls.push_back({{}, std::string(name), dump(arguments)});
  read.rest = rest;
  return read;
}

/// <parameter=key>, <param name="key">, <｜DSML｜parameter name="key" string="true">.
struct ParameterTag {
  std::string_view tag;
  std::string_view key;
  std::optional<bool> is_string;
};
std::optional<ParameterTag> read_tag(std::string_view inside) {
  ParameterTag found;
  const std::size_t tag_end = std::min(inside.find_first_of("= \t"), inside.size());
  found.tag = inside.substr(0, tag_end);
  if (!found.tag.ends_with("parameter") && found.tag != "param") {
    return std::nullopt;
  }
  inside.remove_prefix(tag_end);
  if (inside.starts_with('=')) {
    found.key = trimmed(inside.substr(1));
  } else {
    constexpr std::string_view kName = "name=\"";
    const std::size_t name = inside.find(kName);
    if (name == npos) {
      return std::nullopt;
    }
    const std::string_view behind = inside.substr(name + kName.size());
    found.key = behind.substr(0, behind.find('"'));
    if (inside.contains("string=\"true\"")) {
      found.is_string = true;
    } else if (inside.contains("string=\"false\"")) {
      found.is_string = false;
    }
  }
  return found.key.empty() ? std::nullopt : std::optional(found);
}

/// The arguments in `text`, or nothing when there is text that belongs to none.
std::optional<Json> read_parameters(std::string_view name, std::string_view text,
                                    const OfferedTools& tools) {
  Json arguments = Json::object();
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    const std::size_t end = text.find('>');
    if (text[0] != '<' || end == npos) {
      return std::nullopt;
    }
    const auto tag = read_tag(text.substr(1, end - 1));
    if (!tag) {
      return std::nullopt;
    }
    text.remove_prefix(end + 1);
    constexpr std::string_view kData = "<![CDATA[";
    constexpr std::string_view kDataEnd = "]]>";
    const bool is_data = text.starts_with(kData) && text.contains(kDataEnd);
    const std::string close = "</" + std::string(tag->tag) + ">";
    const std::size_t value_end = text.find(close, is_data ? text.find(kDataEnd) : 0);
    if (value_end == npos) {
      return std::nullopt;
    }
    std::string_view value = text.substr(0, value_end);
    if (is_data) {
      value = value.substr(kData.size(), value.find(kDataEnd) - kData.size());
    } else {
      value = without_line_breaks(value);
    }
    const bool is_string = tag->is_string.value_or(is_data || tools.is_string(name, tag->key));
    arguments[std::string(tag->key)] = value_of(value, is_string);
    text.remove_prefix(value_end + close.size());
  }
  return arguments;
}

}  // namespace

std::optional<ReadCalls> read_named_call(std::string_view body, const OfferedTools& tools) {
  const std::size_t end = body.find('>');
  if (end == npos) {
    return std::nullopt;
  }
  std::string_view name = trimmed(body.substr(0, end));
  if (name.ends_with('"')) {
    name.remove_suffix(1);
  }
  const std::string_view inside = trimmed(body.substr(end + 1));
  if (inside.starts_with('{')) {
    return call_with_json(name, inside);
  }
  const auto arguments = read_parameters(name, inside, tools);
  return arguments ? made(name, *arguments, {}) : std::nullopt;
}

namespace {

constexpr std::string_view kNamespace = "]<]minimax[>[";
constexpr int kMaxElements = 32;  // one in the other

/// Reads the elements that `text` begins with; `text` loses them. Nothing when it is malformed.
class ElementReader {
 public:
  ElementReader(std::string_view text, std::string_view tool, const OfferedTools& tools)
      : text_(text), tool_(tool), tools_(tools) {}

  /// Elements up to the end of the text or the closing tag around them.
  std::optional<Json> members(int depth) {
    Json object = Json::object();
    Json list = Json::array();
    for (skip_blanks(); !text_.empty() && !at_close(); skip_blanks()) {
      const auto tag = open_tag();
      if (!tag || depth > kMaxElements) {
        return std::nullopt;
      }
      auto inside = value(*tag, depth);
      if (!inside) {
        return std::nullopt;
      }
      if (*tag == "item") {
        list.push_back(std::move(*inside));
      } else {
        object[std::string(*tag)] = std::move(*inside);
      }
    }
    const bool is_list = object.empty() && !list.empty() && depth > 0;
    return is_list ? std::move(list) : std::move(object);
  }

 private:
  void skip_blanks() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \t\r\n"), text_.size()));
  }
  bool at_close() const {
    return text_.starts_with(kNamespace) && text_.substr(kNamespace.size()).starts_with("</");
  }
  bool at_open() const {
    return text_.starts_with(kNamespace) && text_.substr(kNamespace.size()).starts_with('<') &&
           !at_close();
  }
  std::optional<std::string_view> open_tag() {
    if (!at_open()) {
      return std::nullopt;
    }
    text_.remove_prefix(kNamespace.size() + 1);
    const std::size_t end = text_.find('>');
    if (end == npos || end == 0) {
      return std::nullopt;
    }
    const std::string_view tag = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return tag;
  }
  std::optional<Json> value(std::string_view tag, int depth) {
    const std::string close = std::string(kNamespace) + "</" + std::string(tag) + ">";
    std::optional<Json> out;
    if (at_open()) {
      out = members(depth + 1);
    } else {
      const std::size_t end = text_.find(kNamespace);
      if (end == npos) {
        return std::nullopt;
      }
      out = value_of(text_.substr(0, end), depth == 0 && tools_.is_string(tool_, tag));
      text_.remove_prefix(end);
    }
    if (!out || !text_.starts_with(close)) {
      return std::nullopt;
    }
    text_.remove_prefix(close.size());
    return out;
  }

  std::string_view text_, tool_;
  const OfferedTools& tools_;
};

}  // namespace

std::optional<ReadCalls> read_element_call(std::string_view body, const OfferedTools& tools) {
  const std::size_t end = body.find("\">");
  if (end == npos) {
    return std::nullopt;
  }
  const std::string_view name = body.substr(0, end);
  if (const std::string_view inside = trimmed(body.substr(end + 2)); inside.starts_with('{')) {
    return call_with_json(name, inside);
  }
  const auto arguments = ElementReader(body.substr(end + 2), name, tools).members(0);
  return arguments ? made(name, *arguments, {}) : std::nullopt;
}

std::optional<ReadCalls> read_arg_pairs(std::string_view body, const OfferedTools& tools) {
  // Tags may carry a suffix: <arg_key:opensource>.
  std::string_view rest = trimmed(body);
  const std::size_t name_end = std::min(rest.find_first_of("<\n"), rest.size());
  const std::string_view name = trimmed(rest.substr(0, name_end));
  rest = trimmed(rest.substr(name_end));
  if (rest.starts_with("<tool_sep")) {
    const std::size_t end = rest.find('>');
    rest = end == npos ? std::string_view("<") : trimmed(rest.substr(end + 1));
  }
  const auto take = [&rest](std::string_view tag) -> std::optional<std::string_view> {
    rest = trimmed(rest);
    const std::size_t begin = rest.find('>');
    if (!rest.starts_with("<" + std::string(tag)) || begin == npos) {
      return std::nullopt;
    }
    const std::size_t close = rest.find("</" + std::string(tag), begin);
    const std::size_t close_end = close == npos ? npos : rest.find('>', close);
    if (close_end == npos) {
      return std::nullopt;
    }
    const std::string_view inside = rest.substr(begin + 1, close - begin - 1);
    rest.remove_prefix(close_end + 1);
    return inside;
  };
  Json arguments = Json::object();
  while (!trimmed(rest).empty()) {
    const auto key = take("arg_key");
    const auto value = key ? take("arg_value") : std::nullopt;
    if (!value) {
      return std::nullopt;
    }
    const std::string_view key_name = trimmed(*key);
    arguments[std::string(key_name)] =
        value_of(without_line_breaks(*value), tools.is_string(name, key_name));
  }
  // A name alone is a call only when a tool is called so: else it is text.
  return arguments.empty() && !tools.names(name) ? std::nullopt : made(name, arguments, {});
}

}  // namespace lm
