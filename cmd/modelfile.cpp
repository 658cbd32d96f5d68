#include "cmd/modelfile.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cmd/api_level.h"

namespace lm::cmd {
namespace {

constexpr std::size_t kMaxBytes = 4u << 20;
constexpr std::string_view kBlock = "\"\"\"";

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) {
    text.remove_prefix(1);
  }
  while (!text.empty() && is_blank(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return out;
}

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

/// UTF-16 with a BOM to UTF-8; lone surrogates become U+FFFD.
std::string from_utf16(std::string_view bytes, bool big_endian) {
  const auto unit = [&](std::size_t i) -> std::uint32_t {
    const auto a = static_cast<unsigned char>(bytes[i]),
               b = static_cast<unsigned char>(bytes[i + 1]);
    return big_endian ? static_cast<std::uint32_t>(a << 8 | b)
                      : static_cast<std::uint32_t>(b << 8 | a);
  };
  std::string out;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    std::uint32_t code = unit(i);
    if (code >= 0xd800 && code < 0xdc00 && i + 3 < bytes.size() && unit(i + 2) >= 0xdc00 &&
        unit(i + 2) < 0xe000) {
      code = 0x10000 + ((code - 0xd800) << 10) + (unit(i + 2) - 0xdc00);
      i += 2;
    } else if (code >= 0xd800 && code < 0xe000) {
      code = 0xfffd;
    }
    append_utf8(out, code);
  }
  return out;
}

/// Names that RENDERER and PARSER take: those that Ollama's Modelfiles have used so far. What they
/// ask for lm reads off the template, so they are checked and have no effect.
constexpr std::array<std::string_view, 36> kBuiltIn{"cogito",
                                                    "cohere",
                                                    "deepseek3",
                                                    "deepseek3.1",
                                                    "functiongemma",
                                                    "gemma4",
                                                    "gemma4-large",
                                                    "gemma4-no-thinking",
                                                    "gemma4-small",
                                                    "glimmer",
                                                    "glm-4.6",
                                                    "glm-4.7",
                                                    "glm-ocr",
                                                    "gptoss",
                                                    "harmony",
                                                    "kimi",
                                                    "laguna",
                                                    "lfm2",
                                                    "lfm2-thinking",
                                                    "ministral",
                                                    "nemotron",
                                                    "nemotron-3-nano",
                                                    "nemotron-3.5-nano",
                                                    "olmo3",
                                                    "olmo3-32b-think",
                                                    "olmo3-think",
                                                    "olmo3.1",
                                                    "ornith",
                                                    "passthrough",
                                                    "poolside-v1",
                                                    "qwen3",
                                                    "qwen3-coder",
                                                    "qwen3-thinking",
                                                    "qwen3-vl-instruct",
                                                    "qwen3-vl-thinking",
                                                    "qwen3.5"};

/// "0.14.0", "v0.14": up to three numbers; what follows a '-' or '+' (pre-release, build) does not
/// count.
bool read_version(std::string_view text, std::array<unsigned long, 3>& version) {
  if (text.starts_with('v') || text.starts_with('V')) {
    text.remove_prefix(1);
  }
  text = text.substr(0, text.find_first_of("-+"));
  for (unsigned long& number : version) {
    const std::string_view part = text.substr(0, text.find('.'));
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (part.empty() || error != std::errc() || end != part.data() + part.size()) {
      return false;
    }
    if (part.size() == text.size()) {
      return true;
    }
    text.remove_prefix(part.size() + 1);
  }
  return false;
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view subject) : text_(text), subject_(subject) {}

  Result<Modelfile> parse() {
    while (pos_ < text_.size()) {
      LM_CHECK(statement());
    }
    if (file_.from.empty()) {
      return failure("bad_modelfile", std::string(subject_), "has no FROM line",
                     "begin it with: FROM <model name or path to a .gguf>");
    }
    return std::move(file_);
  }

 private:
  std::unexpected<Failure> wrong(std::size_t line, std::string problem,
                                 std::string hint = {}) const {
    return failure("bad_modelfile", fmt::format("{}: line {}", subject_, line), std::move(problem),
                   std::move(hint));
  }

  /// Rest of the current line; goes on behind it.
  std::string_view take_line() {
    const std::size_t end = std::min(text_.find('\n', pos_), text_.size());
    const std::string_view line = text_.substr(pos_, end - pos_);
    pos_ = std::min(end + 1, text_.size());
    ++line_;
    return line;
  }

  /// A word up to a blank on the current line.
  std::string_view take_word() {
    while (pos_ < text_.size() && is_blank(text_[pos_])) {
      ++pos_;
    }
    const std::size_t begin = pos_;
    while (pos_ < text_.size() && text_[pos_] != '\n' && !is_blank(text_[pos_])) {
      ++pos_;
    }
    return text_.substr(begin, pos_ - begin);
  }

  /// The argument of an instruction: to the end of the line, or quoted.
  Result<std::string> take_value() {
    while (pos_ < text_.size() && is_blank(text_[pos_])) {
      ++pos_;
    }
    const std::size_t first_line = line_ + 1;
    const bool block = text_.substr(pos_).starts_with(kBlock);
    if (!block && !text_.substr(pos_).starts_with('"')) {
      return std::string(trimmed(take_line()));
    }
    const std::string_view quote = block ? kBlock : std::string_view("\"");
    const std::size_t begin = pos_ + quote.size();
    const std::size_t end = text_.find(quote, begin);
    if (end == std::string_view::npos) {
      return wrong(first_line,
                   fmt::format("unexpected EOF: the {} that begins here is not closed", quote));
    }
    const std::string_view value = text_.substr(begin, end - begin);
    line_ += static_cast<std::size_t>(std::ranges::count(value, '\n'));
    pos_ = end + quote.size();
    if (!trimmed(take_line()).empty()) {
      return wrong(line_, fmt::format("text after the closing {}", quote));
    }
    return std::string(value);
  }

  Result<void> statement() {
    const std::string_view word = take_word();
    const std::size_t line = line_ + 1;
    if (word.empty() || word.starts_with('#')) {
      take_line();
      return {};
    }
    const std::string instruction = lower(word);
    if (instruction == "parameter") {
      return parameter(line);
    }
    if (instruction == "message") {
      return message(line);
    }
    constexpr std::array<std::string_view, 4> kTexts{"from", "template", "system", "license"};
    if (std::ranges::find(kTexts, instruction) != kTexts.end()) {
      LM_TRY(std::string value, take_value());
      return text(instruction, std::move(value), line);
    }
    if (instruction == "adapter") {
      return wrong(line, "ADAPTER (LoRA) is not supported by this version of lm",
                   "remove the line, or take a model that the adapter was merged into");
    }
    constexpr std::array<std::string_view, 4> kOthers{"requires", "renderer", "parser", "draft"};
    if (std::ranges::find(kOthers, instruction) != kOthers.end()) {
      LM_TRY(const std::string value, take_value());
      return instruction == "requires" ? needed_version(value, line)
                                       : accepted(instruction, value, line);
    }
    return wrong(line, fmt::format("unknown instruction '{}'", word.substr(0, 40)),
                 "known are: FROM, PARAMETER, TEMPLATE, SYSTEM, MESSAGE, LICENSE, REQUIRES, "
                 "RENDERER, PARSER, DRAFT, ADAPTER");
  }

  /// REQUIRES x.y.z: compared with the level that this program understands.
  Result<void> needed_version(std::string_view value, std::size_t line) {
    std::array<unsigned long, 3> wanted{};
    if (!read_version(value, wanted)) {
      return wrong(line, fmt::format("REQUIRES needs a version, got '{}'", value.substr(0, 40)),
                   "write it as 0.14.0");
    }
    if (wanted > kApiLevel) {
      return wrong(line,
                   fmt::format("the model requires version {}, this lm understands {}", value,
                               fmt::join(kApiLevel, ".")),
                   "a newer lm may run it; without the line this one tries");
    }
    return {};
  }

  /// Instructions whose work lm does by itself; a name that nobody knows is still a mistake.
  Result<void> accepted(std::string_view instruction, std::string_view value, std::size_t line) {
    std::string word(instruction);
    std::ranges::transform(word, word.begin(), [](char c) { return static_cast<char>(c - 32); });
    if (instruction == "draft") {
      if (value.empty()) {
        return wrong(line, "DRAFT needs a model's name");
      }
      file_.warnings.push_back(fmt::format(
          "{}: line {}: DRAFT has no effect; name the model when running: lm run --draft {}",
          subject_, line, value));
      return {};
    }
    if (std::ranges::find(kBuiltIn, lower(value)) == kBuiltIn.end()) {
      return wrong(line, fmt::format("{}: unknown name '{}'", word, value.substr(0, 40)),
                   fmt::format("known are: {}", fmt::join(kBuiltIn, ", ")));
    }
    file_.warnings.push_back(
        fmt::format("{}: line {}: {} has no effect; the form is read off the model's template",
                    subject_, line, word));
    return {};
  }

  Result<void> parameter(std::size_t line) {
    const std::string name = lower(take_word());
    LM_TRY(const std::string value, take_value());
    if (name.empty() || value.empty()) {
      return wrong(line, "PARAMETER needs a name and a value");
    }
    if (api::is_retired_parameter(name)) {
      file_.warnings.push_back(
          fmt::format("{}: line {}: parameter {} has no effect", subject_, line, name));
      return {};
    }
    if (auto added = api::add_parameter(file_.parameters, name, value); !added) {
      const Failure& inner = added.error();
      return wrong(line, fmt::format("PARAMETER {}: {}", inner.subject, inner.problem), inner.hint);
    }
    return {};
  }

  Result<void> message(std::size_t line) {
    const std::string role = lower(take_word());
    if (role != "system" && role != "user" && role != "assistant") {
      return wrong(line,
                   fmt::format("MESSAGE needs a role (system, user or assistant), got '{}'", role));
    }
    LM_TRY(std::string content, take_value());
    file_.messages.push_back({role, std::move(content)});
    return {};
  }

  Result<void> text(std::string_view instruction, std::string value, std::size_t line) {
    if (instruction == "from") {
      if (value.empty()) {
        return wrong(line, "FROM needs a model name or a path");
      }
      file_.from.push_back(std::move(value));
    } else if (instruction == "template") {
      file_.chat_template = std::move(value);
      file_.has_template = true;
    } else if (instruction == "system") {
      file_.system = std::move(value);
      file_.has_system = true;
    } else {
      file_.licenses.push_back(std::move(value));
    }
    return {};
  }

  std::string_view text_;
  std::string_view subject_;
  std::size_t pos_ = 0;
  std::size_t line_ = 0;  ///< lines left behind
  Modelfile file_;
};

/// A value in the shortest form that reads back to itself.
std::string quoted(std::string_view value) {
  const bool plain = !value.empty() && value.find('\n') == std::string_view::npos &&
                     trimmed(value).size() == value.size() && value.front() != '"';
  if (plain) {
    return std::string(value);
  }
  if (value.find('"') == std::string_view::npos && !value.empty()) {
    return fmt::format("\"{}\"", value);
  }
  return fmt::format("{}{}{}", kBlock, value, kBlock);
}

}  // namespace

Result<Modelfile> parse_modelfile(std::string_view text, std::string_view subject) {
  if (text.size() > kMaxBytes) {
    return failure("limit_exceeded", std::string(subject),
                   fmt::format("has {} bytes, a Modelfile may have {}", text.size(), kMaxBytes));
  }
  std::string decoded;
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    decoded = from_utf16(text.substr(2), text.starts_with("\xfe\xff"));
    text = decoded;
  } else if (text.starts_with("\xef\xbb\xbf")) {
    text.remove_prefix(3);
  }
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    const auto line = 1 + std::ranges::count(text.substr(0, nul), '\n');
    return failure("bad_modelfile", fmt::format("{}: line {}", subject, line),
                   "has a NUL byte; this is no text file");
  }
  return Parser(text, subject).parse();
}

std::string print_modelfile(const Modelfile& file) {
  std::string out;
  for (const std::string& from : file.from) {
    out += fmt::format("FROM {}\n", quoted(from));
  }
  if (file.has_template) {
    out += fmt::format("TEMPLATE {}\n", quoted(file.chat_template));
  }
  if (file.has_system) {
    out += fmt::format("SYSTEM {}\n", quoted(file.system));
  }
  for (const auto& [name, values] : file.parameters) {
    for (const std::string& value : values) {
      out += fmt::format("PARAMETER {} {}\n", name, quoted(value));
    }
  }
  for (const store::ManifestMessage& message : file.messages) {
    out += fmt::format("MESSAGE {} {}\n", message.role, quoted(message.content));
  }
  for (const std::string& license : file.licenses) {
    out += fmt::format("LICENSE {}\n", quoted(license));
  }
  return out;
}

}  // namespace lm::cmd
