// lm debug tokenize, lm debug detokenize: a vocabulary-only file is enough.
#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "cmd/arguments.h"
#include "cmd/debug.h"
#include "cmd/format.h"
#include "cmd/output.h"
#include "cmd/resolve.h"
#include "cmd/text_file.h"
#include "runtime/chat/prompt.h"

namespace lm::cmd {
namespace {

constexpr std::size_t kMaxInputBytes = 256u << 20;

Result<std::unique_ptr<Tokenizer>> open_tokenizer(const ResolvedModel& model) {
  std::vector<std::string> warnings;
  LM_TRY(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::create(model.file.metadata(), &warnings));
  for (const std::string& warning : warnings) {
    print_warning(warning);
  }
  return tokenizer;
}

}  // namespace

Result<std::vector<Token>> parse_ids(std::string_view text, std::string_view separators,
                                     std::uint64_t n_vocab) {
  std::vector<Token> ids;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(separators), text.size()));
    if (text.empty()) {
      return ids;
    }
    const std::size_t end = std::min(text.find_first_of(separators), text.size());
    const std::string_view word = text.substr(0, end);
    const auto id = parse_integer(word);
    if (!id) {
      return usage_error("token id", fmt::format("'{}' is no whole number", word.substr(0, 40)));
    }
    if (*id < 0 || static_cast<std::uint64_t>(*id) >= n_vocab) {
      return failure("invalid_argument", "token id",
                     fmt::format("{} is not in the vocabulary of {} tokens", *id, n_vocab));
    }
    ids.push_back(static_cast<Token>(*id));
    text.remove_prefix(end);
  }
}

Result<ExitCode> debug_tokenize(CommandLine& line) {
  std::string name;
  std::optional<std::string> text;
  bool no_bos = false, no_special = false;
  Arguments arguments(line);
  arguments.flag("--no-bos", no_bos, "leave out BOS in front and EOS behind");
  arguments.flag("--no-special", no_special, "text of special tokens is plain text");
  arguments.positional("MODEL", name);
  arguments.positional("TEXT|-", text);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const ResolvedModel model, resolve_model(name));
  LM_TRY(const std::unique_ptr<Tokenizer> tokenizer, open_tokenizer(model));
  if (!text || *text == "-") {
    LM_TRY(text, read_text_file("-", kMaxInputBytes));
  }
  const SpecialTokens special = no_special ? SpecialTokens::as_text : SpecialTokens::parsed;
  std::vector<Token> ids;
  if (no_bos) {
    tokenizer->encode(*text, special, true, ids);
  } else {
    encode_whole(*tokenizer, *text, special, ids);
  }
  print(fmt::format("{{\"ids\":[{}]}}\n", fmt::join(ids, ",")));
  return ExitCode::ok;
}

Result<ExitCode> debug_detokenize(CommandLine& line) {
  std::string name;
  std::vector<std::string> words;
  Arguments arguments(line);
  arguments.positional("MODEL", name);
  arguments.rest("ID|-", words, 0);
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  LM_TRY(const ResolvedModel model, resolve_model(name));
  LM_TRY(const std::unique_ptr<Tokenizer> tokenizer, open_tokenizer(model));
  std::string text = fmt::format("{}", fmt::join(words, " "));
  if (text == "-") {
    LM_TRY(text, read_text_file("-", kMaxInputBytes));
  }
  LM_TRY(const std::vector<Token> ids, parse_ids(text, " ,\t\n", tokenizer->n_vocab()));
  // BOS in front is what `tokenize` adds by itself; all other control tokens are spelt out.
  std::span<const Token> shown(ids);
  if (!ids.empty() && tokenizer->vocab().add_bos && ids.front() == tokenizer->vocab().bos) {
    shown = shown.subspan(1);
  }
  print(tokenizer->decode(shown, true));
  return ExitCode::ok;
}

}  // namespace lm::cmd
