#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "runtime/tokenizer/pretokenize.h"
#include "runtime/tokenizer/special_spellings.h"
#include "runtime/tokenizer/tokenizer.h"

namespace lm {
namespace {

constexpr std::size_t kMaxTokens = 2u << 20;
constexpr std::string_view kConvertAgain =
    "the file is malformed, get it again or convert it again";

/// Ids that hold where a file names none. Those of BPE in the specification (11) mean nothing, so
/// there are none.
struct Defaults {
  std::string_view model;
  Token bos = kNoId;
  Token eos = kNoId;
  Token unk = kNoId;
  Token pad = kNoId;
  Token sep = kNoId;
  bool add_bos = false;
  bool add_eos = false;
  bool add_sep = false;
  bool add_space_prefix = false;
};
constexpr Defaults kDefaults[] = {
    {"llama", 1, 2, 0, kNoId, kNoId, true, false, false, true},
    {"bert", 101, kNoId, 100, 0, 102, true, false, true, false},
    {"t5", kNoId, 1, 2, 0, kNoId, false, true, false, false},
};

class VocabReader {
 public:
  VocabReader(const Metadata& metadata, std::vector<std::string>* warnings)
      : metadata_(metadata), warnings_(warnings) {}

  Result<Vocab> read() {
    LM_TRY(const std::string_view model, metadata_.get_string("tokenizer.ggml.model"));
    vocab_.model = model;
    LM_CHECK(read_pre());
    LM_CHECK(read_tokens());
    LM_CHECK(read_scores());
    LM_CHECK(read_kinds());
    LM_CHECK(read_special());
    LM_CHECK(read_flags());
    return std::move(vocab_);
  }

 private:
  std::unexpected<Error> bad(std::string problem) const {
    return fail(ErrorCode::bad_vocab, metadata_.subject(), std::move(problem),
                std::string(kConvertAgain));
  }
  void warn(std::string text) {
    if (warnings_ != nullptr) {
      warnings_->push_back(std::move(text));
    }
  }
  bool in_range(std::int64_t id) const {
    return id >= 0 && static_cast<std::uint64_t>(id) < vocab_.size();
  }

  Result<void> read_pre() {
    LM_TRY(const auto pre, metadata_.try_string("tokenizer.ggml.pre"));
    vocab_.pre = pre.value_or("default");
    if (!pre && vocab_.model == "gpt2") {
      warn("key 'tokenizer.ggml.pre' is missing, the pre-tokenizer 'default' is a guess");
    }
    return {};
  }

  Result<void> read_tokens() {
    LM_TRY(const auto tokens, metadata_.try_strings("tokenizer.ggml.tokens"));
    if (!tokens) {
      return fail(ErrorCode::missing, metadata_.subject(), "key 'tokenizer.ggml.tokens' is missing",
                  std::string(kConvertAgain));
    }
    if (tokens->empty()) {
      return bad("key 'tokenizer.ggml.tokens' is empty, expected at least one token");
    }
    if (tokens->size() > kMaxTokens) {
      return fail(ErrorCode::limit_exceeded, metadata_.subject(),
                  fmt::format("key 'tokenizer.ggml.tokens' has {} entries, the limit is {}",
                              tokens->size(), kMaxTokens));
    }
    std::uint64_t total = 0;
    for (const std::string_view token : *tokens) {
      total += token.size();
    }
    if (total > std::numeric_limits<std::uint32_t>::max()) {
      return fail(
          ErrorCode::limit_exceeded, metadata_.subject(),
          fmt::format("key 'tokenizer.ggml.tokens' holds {} bytes, the limit is 4 GiB", total));
    }
    vocab_.bytes.reserve(total);
    vocab_.text_begin.reserve(tokens->size() + 1);
    vocab_.text_begin.push_back(0);
    for (const std::string_view token : *tokens) {
      vocab_.bytes.append(token);
      vocab_.text_begin.push_back(static_cast<std::uint32_t>(vocab_.bytes.size()));
    }
    return {};
  }

  Result<void> read_scores() {
    LM_TRY(auto scores, metadata_.try_floats("tokenizer.ggml.scores"));
    if (!scores) {
      vocab_.score.assign(vocab_.size(), 0.0f);
      if (vocab_.model == "llama") {
        warn("key 'tokenizer.ggml.scores' is missing, all tokens count the same");
      }
      return {};
    }
    if (scores->size() != vocab_.size()) {
      return bad(
          fmt::format("key 'tokenizer.ggml.scores' has {} entries, expected {} (one a token)",
                      scores->size(), vocab_.size()));
    }
    std::size_t n_nan = 0;
    for (float& score : *scores) {
      if (std::isnan(score)) {
        score = std::numeric_limits<float>::lowest();
        ++n_nan;
      }
    }
    if (n_nan > 0) {
      warn(fmt::format(
          "key 'tokenizer.ggml.scores': {} entries are not numbers, taken as the lowest score",
          n_nan));
    }
    vocab_.score = std::move(*scores);
    return {};
  }

  Result<void> read_kinds() {
    LM_TRY(const auto types, metadata_.try_ints("tokenizer.ggml.token_type"));
    vocab_.kind.assign(vocab_.size(), TokenKind::normal);
    if (types && types->size() != vocab_.size()) {
      return bad(
          fmt::format("key 'tokenizer.ggml.token_type' has {} entries, expected {} (one a token)",
                      types->size(), vocab_.size()));
    }
    std::size_t n_unknown = 0;
    for (std::size_t i = 0; types && i < types->size(); ++i) {
      const std::int64_t type = (*types)[i];
      if (type < 1 || type > 6) {
        ++n_unknown;
      } else {
        vocab_.kind[i] = static_cast<TokenKind>(type);
      }
    }
    if (n_unknown > 0) {
      warn(fmt::format(
          "key 'tokenizer.ggml.token_type': {} entries are no known type, taken as normal",
          n_unknown));
    }
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      const std::string_view text = vocab_.text(static_cast<Token>(i));
      if (tokenizer::is_control_spelling(text)) {
        vocab_.kind[i] = TokenKind::control;
      }
    }
    return {};
  }

  /// The id under `key`, or `fallback`; out of range is as good as absent.
  Result<Token> special(std::string_view name, Token fallback = kNoId) {
    const std::string key = fmt::format("tokenizer.ggml.{}", name);
    LM_TRY(const auto id, metadata_.try_int(key));
    if (!id) {
      return in_range(fallback) ? fallback : kNoId;
    }
    if (!in_range(*id)) {
      warn(fmt::format("key '{}' is {}, the vocabulary has {} tokens; taken as absent", key, *id,
                       vocab_.size()));
      return kNoId;
    }
    return static_cast<Token>(*id);
  }

  Result<void> read_special() {
    const Defaults& d = defaults();
    LM_TRY(vocab_.bos, special("bos_token_id", d.bos));
    LM_TRY(vocab_.eos, special("eos_token_id", d.eos));
    LM_TRY(vocab_.unk, special("unknown_token_id", d.unk));
    LM_TRY(vocab_.pad, special("padding_token_id", d.pad));
    LM_TRY(vocab_.sep, special("seperator_token_id", d.sep));
    if (vocab_.model == "bert") {
      // What stands in front of a text: files name it as either of the two.
      LM_TRY(vocab_.bos, special("cls_token_id", vocab_.bos));
    }
    LM_TRY(const Token eot, special("eot_token_id"));
    LM_TRY(const Token eom, special("eom_token_id"));
    for (const std::string_view unused_here :
         {"cls_token_id", "mask_token_id", "fim_pre_token_id", "fim_suf_token_id",
          "fim_mid_token_id", "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id",
          "prefix_token_id", "suffix_token_id", "middle_token_id"}) {
      LM_CHECK(special(unused_here));
    }
    collect_end_of_generation(eot, eom);

    LM_TRY(const auto suppressed, metadata_.try_ints("tokenizer.ggml.suppress_tokens"));
    std::size_t n_out_of_range = 0;
    for (std::size_t i = 0; suppressed && i < suppressed->size(); ++i) {
      if (in_range((*suppressed)[i])) {
        vocab_.suppressed.push_back(static_cast<Token>((*suppressed)[i]));
      } else {
        ++n_out_of_range;
      }
    }
    if (n_out_of_range > 0) {
      warn(fmt::format(
          "key 'tokenizer.ggml.suppress_tokens': {} ids are outside the vocabulary of {} tokens",
          n_out_of_range, vocab_.size()));
    }
    return {};
  }

  void collect_end_of_generation(Token eot, Token eom) {
    std::vector<Token>& ends = vocab_.end_of_generation;
    for (const Token id : {vocab_.eos, eot, eom}) {
      if (id != kNoId) {
        ends.push_back(id);
      }
    }
    bool has_return = false;
    bool has_call = false;
    bool has_calls = false;
    bool has_flush = false;
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      const auto id = static_cast<Token>(i);
      const std::string_view text = vocab_.text(id);
      if (tokenizer::ends_generation(text)) {
        ends.push_back(id);
        has_return |= text == "<|return|>";
        has_call |= text == "<|call|>";
        has_calls |= text == "<|calls|>";
        has_flush |= text == "<|flush|>";
      }
    }
    // In the format of gpt-oss, and that of solar-open, <|end|> closes one message of an answer,
    // not the answer.
    if ((has_return && has_call) || (has_calls && has_flush)) {
      std::erase_if(ends, [this](Token id) { return vocab_.text(id) == "<|end|>"; });
    }
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  }

  Result<void> read_flags() {
    const Defaults& d = defaults();
    bool add_bos = d.add_bos;
    if (vocab_.model == "gpt2") {
      const auto spec = tokenizer::find_pretokenizer(vocab_.pre);
      add_bos = spec && spec->add_bos;
    }
    LM_TRY(vocab_.add_bos, metadata_.bool_or("tokenizer.ggml.add_bos_token", add_bos));
    LM_TRY(vocab_.add_eos, metadata_.bool_or("tokenizer.ggml.add_eos_token", d.add_eos));
    LM_TRY(vocab_.add_sep, metadata_.bool_or("tokenizer.ggml.add_sep_token", d.add_sep));
    LM_TRY(vocab_.add_space_prefix,
           metadata_.bool_or("tokenizer.ggml.add_space_prefix", d.add_space_prefix));
    return {};
  }

  const Defaults& defaults() const {
    static constexpr Defaults kNone;
    const auto* row = std::find_if(std::begin(kDefaults), std::end(kDefaults),
                                   [this](const Defaults& d) { return d.model == vocab_.model; });
    return row == std::end(kDefaults) ? kNone : *row;
  }

  const Metadata& metadata_;
  std::vector<std::string>* warnings_;
  Vocab vocab_;
};

}  // namespace

Result<Vocab> read_vocab(const Metadata& metadata, std::vector<std::string>* warnings) {
  try {
    return VocabReader(metadata, warnings).read();
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory, metadata.subject(),
                "there is not enough memory for the vocabulary");
  }
}

bool Vocab::is_end_of_generation(Token id) const {
  return std::binary_search(end_of_generation.begin(), end_of_generation.end(), id);
}

}  // namespace lm
