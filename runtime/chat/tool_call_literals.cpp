// Calls whose arguments are literals of another language: Python's, and Gemma 4's own.
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/chat/tool_call_reader.h"

namespace lm {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxDepth = 64;
constexpr std::string_view kGemmaQuote = "<|\"|>";

bool continues_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

/// Reads values from the front of a text. The languages differ in quotes and in bare keys.
class LiteralReader {
 public:
  explicit LiteralReader(std::string_view text) : rest_(text) {}

  std::string_view rest() const { return rest_; }
  void skip_blanks() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }
  bool take(std::string_view text) {
    skip_blanks();
    if (!rest_.starts_with(text)) {
      return false;
    }
    rest_.remove_prefix(text.size());
    return true;
  }
  std::string_view take_name() {
    skip_blanks();
    std::size_t n = 0;
    while (n < rest_.size() && continues_name(rest_[n])) {
      ++n;
    }
    const std::string_view name = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return name;
  }

  std::optional<Json> value(std::size_t depth = 0) {
    skip_blanks();
    if (rest_.empty() || depth > kMaxDepth) {
      return std::nullopt;
    }
    if (rest_.starts_with(kGemmaQuote)) {
      return quoted(kGemmaQuote);
    }
    switch (rest_[0]) {
      case '"':
      case '\'':
        return python_string();
      case '[':
        return list("]", depth);
      case '(':
        return list(")", depth);
      case '{':
        return map(depth);
      default:
        return word();
    }
  }

  /// `{key: value}`; keys quoted or bare.
  std::optional<Json> map(std::size_t depth = 0) {
    if (!take("{")) {
      return std::nullopt;
    }
    Json object = Json::object();
    while (!take("}")) {
      skip_blanks();
      std::string key;
      if (rest_.starts_with(kGemmaQuote) || rest_.starts_with('"') || rest_.starts_with('\'')) {
        const auto text = value(depth + 1);
        if (!text || !text->is_string()) {
          return std::nullopt;
        }
        key = text->get<std::string>();
      } else {
        key = take_name();
      }
      if (key.empty() || !take(":")) {
        return std::nullopt;
      }
      auto member = value(depth + 1);
      if (!member) {
        return std::nullopt;
      }
      object[key] = std::move(*member);
      if (take("}")) {
        break;
      }
      if (!take(",")) {
        return std::nullopt;
      }
    }
    return object;
  }

 private:
  std::optional<Json> quoted(std::string_view quote) {
    const std::size_t end = rest_.find(quote, quote.size());
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    Json text = std::string(rest_.substr(quote.size(), end - quote.size()));
    rest_.remove_prefix(end + quote.size());
    return text;
  }

  std::optional<Json> python_string() {
    const char quote = rest_[0];
    std::string text;
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      const char c = rest_[i];
      if (c == quote) {
        rest_.remove_prefix(i + 1);
        return Json(std::move(text));
      }
      if (c != '\\' || i + 1 == rest_.size()) {
        text.push_back(c);
        continue;
      }
      const char escape = rest_[++i];
      switch (escape) {
        case 'n':
          text.push_back('\n');
          break;
        case 't':
          text.push_back('\t');
          break;
        case 'r':
          text.push_back('\r');
          break;
        case '\\':
        case '\'':
        case '"':
          text.push_back(escape);
          break;
        default:  // as Python: an escape that it does not know stays
          text.push_back('\\');
          text.push_back(escape);
      }
    }
    return std::nullopt;
  }

  std::optional<Json> list(std::string_view close, std::size_t depth) {
    rest_.remove_prefix(1);
    Json items = Json::array();
    while (!take(close)) {
      auto item = value(depth + 1);
      if (!item) {
        return std::nullopt;
      }
      items.push_back(std::move(*item));
      if (take(close)) {
        break;
      }
      if (!take(",")) {
        return std::nullopt;
      }
    }
    return items;
  }

  /// Numbers and constants.
  std::optional<Json> word() {
    std::size_t n = 0;
    while (n < rest_.size() && (continues_name(rest_[n]) || rest_[n] == '+')) {
      ++n;
    }
    const std::string_view text = rest_.substr(0, n);
    Json value;
    if (text == "True" || text == "true") {
      value = true;
    } else if (text == "False" || text == "false") {
      value = false;
    } else if (text != "None" && text != "null") {
      value = Json::parse(text, nullptr, false);
      if (!value.is_number()) {
        return std::nullopt;
      }
    }
    rest_.remove_prefix(n);
    return value;
  }

  std::string_view rest_;
};

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<ToolCall> python_call(LiteralReader& reader) {
  ToolCall call;
  call.name = reader.take_name();
  if (call.name.empty() || (call.name[0] >= '0' && call.name[0] <= '9') || !reader.take("(")) {
    return std::nullopt;
  }
  Json arguments = Json::object();
  if (reader.take("**")) {  // all of them as one map
    auto all = reader.map();
    if (!all || !reader.take(")")) {
      return std::nullopt;
    }
    call.arguments_json = dump(*all);
    return call;
  }
  while (!reader.take(")")) {
    const std::string key(reader.take_name());
    if (key.empty() || !reader.take("=")) {
      return std::nullopt;
    }
    auto value = reader.value();
    if (!value) {
      return std::nullopt;
    }
    arguments[key] = std::move(*value);
    if (reader.take(")")) {
      break;
    }
    if (!reader.take(",")) {
      return std::nullopt;
    }
  }
  call.arguments_json = dump(arguments);
  return call;
}

}  // namespace

std::optional<ReadCalls> read_python_calls(std::string_view body) {
  LiteralReader reader(body);
  ReadCalls read;
  const bool is_list = reader.take("[");
  do {
    auto call = python_call(reader);
    if (!call) {
      return std::nullopt;
    }
    read.calls.push_back(std::move(*call));
  } while (is_list && reader.take(","));
  if (is_list && !reader.take("]")) {
    return std::nullopt;
  }
  read.rest = reader.rest();
  return read;
}

std::optional<ReadCalls> read_gemma4_call(std::string_view body) {
  LiteralReader reader(body);
  ReadCalls read;
  do {
    if (!reader.take("call:")) {
      return std::nullopt;
    }
    ToolCall call;
    call.name = reader.take_name();
    const auto arguments = reader.map();
    if (call.name.empty() || !arguments) {
      return std::nullopt;
    }
    call.arguments_json = dump(*arguments);
    read.calls.push_back(std::move(call));
    reader.skip_blanks();
  } while (reader.rest().starts_with("call:"));
  read.rest = reader.rest();
  return read;
}

}  // namespace lm
