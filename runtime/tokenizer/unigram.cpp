// Kudo 2018 (subword regularisation, unigram language model), as SentencePiece and the models'
// own tokenizers apply it: the best path by Viterbi, in double precision.
#include "runtime/tokenizer/unigram.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "runtime/tokenizer/byte_token.h"
#include "runtime/tokenizer/charsmap.h"
#include "runtime/tokenizer/spaces.h"
#include "runtime/tokenizer/splitting_tokenizer.h"
#include "runtime/tokenizer/token_trie.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::tokenizer {
namespace {

/// What an unknown character costs below the worst piece (SentencePiece's kUnkPenalty).
constexpr double kUnknownPenalty = 10.0;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

class UnigramTokenizer final : public SplittingTokenizer {
 public:
  UnigramTokenizer(Vocab vocab, Charsmap charsmap, bool merge_spaces,
                   std::vector<std::string>* warnings)
      : SplittingTokenizer(std::move(vocab), warnings),
        charsmap_(std::move(charsmap)),
        merge_spaces_(merge_spaces) {
    std::vector<Token> pieces;
    double lowest = 0.0;
    for (std::size_t i = 0; i < vocab_.size(); ++i) {
      const auto id = static_cast<Token>(i);
      const std::string_view text = vocab_.text(id);
      // Sums of finite scores stay finite, so that every place can be arrived at.
      vocab_.score[i] = std::clamp(vocab_.score[i], std::numeric_limits<float>::lowest(),
                                   std::numeric_limits<float>::max());
      const auto byte = byte_of_token(text);
      if (vocab_.kind[i] == TokenKind::byte && byte) {
        const char c = static_cast<char>(*byte);
        add_piece({&c, 1});
        byte_token_[*byte] = byte_token_[*byte] == kNoId ? id : byte_token_[*byte];
        continue;
      }
      add_piece(unescaped(text));
      if (vocab_.kind[i] == TokenKind::normal || vocab_.kind[i] == TokenKind::user_defined) {
        pieces.push_back(id);
      }
      if (vocab_.kind[i] == TokenKind::normal) {
        lowest = std::min(lowest, static_cast<double>(vocab_.score[i]));
      }
    }
    unknown_score_ = lowest - kUnknownPenalty;
    falls_back_to_bytes_ = std::none_of(std::begin(byte_token_), std::end(byte_token_),
                                        [](Token id) { return id == kNoId; });
    trie_ = TokenTrie(vocab_, std::move(pieces));
    if (trie_.n_too_long() > 0 && warnings != nullptr) {
      warnings->push_back(fmt::format("vocabulary: {} tokens are longer than {} bytes and not used",
                                      trie_.n_too_long(), TokenTrie::kMaxBytes));
    }
  }

 private:
  /// The best way to a place of the text.
  struct Arrival {
    double score = -std::numeric_limits<double>::infinity();
    Token id = kNoId;  ///< kNoId: an unknown character
    std::uint32_t bytes = 0;
  };

  void encode_plain(std::string_view text, bool begins, Work& work,
                    std::vector<Token>& ids) const override {
    std::string& normal = work.escaped;
    normalise(text, begins, normal);
    const std::size_t first_id = ids.size();
    for (std::string_view rest = normal; !rest.empty();) {
      const std::string_view part = rest.substr(0, part_end(rest));
      append_best(part, first_id, ids);
      rest.remove_prefix(part.size());
    }
  }

  /// Longer texts are cut, at a space where there is one: that bounds the memory of a call.
  static std::size_t part_end(std::string_view text) {
    const std::size_t cut = word_cut(text);
    if (cut == text.size()) {
      return cut;
    }
    const std::size_t space = text.substr(0, cut).rfind(kSpaceMark);
    return space == std::string_view::npos || space == 0 ? cut : space;
  }

  void normalise(std::string_view text, bool begins, std::string& out) const {
    out.clear();
    bool prefix = begins && vocab_.add_space_prefix;
    if (prefix && !merge_spaces_) {
      out.append(kSpaceMark);
      prefix = false;
    }
    bool space_before = begins;  // spaces in front are dropped as if one stood there
    const auto put = [&](std::string_view replacement) {
      for (const char c : replacement) {
        if (c != ' ') {
          if (prefix) {
            out.append(kSpaceMark);
            prefix = false;
          }
          out.push_back(c);
          space_before = false;
        } else if (!merge_spaces_ || !space_before) {
          out.append(kSpaceMark);
          space_before = true;
        }
      }
    };
    for (std::size_t at = 0; at < text.size();) {
      const Charsmap::Match rule = charsmap_.longest(text.substr(at));
      const std::size_t bytes = utf8::decode(text, at).bytes;
      const bool is_text = bytes > 1 || static_cast<unsigned char>(text[at]) < 0x80;
      if (rule.bytes > 0) {
        put(rule.replacement);
        at += rule.bytes;
      } else {
        // Bytes that are no text survive only where there are tokens for them.
        put(is_text || falls_back_to_bytes_ ? text.substr(at, bytes) : kReplacement);
        at += bytes;
      }
    }
    while (merge_spaces_ && out.ends_with(kSpaceMark)) {
      out.resize(out.size() - kSpaceMark.size());
    }
  }

  void append_best(std::string_view text, std::size_t first_id, std::vector<Token>& ids) const {
    std::vector<Arrival> best(text.size() + 1);
    best[0].score = 0.0;
    const auto arrive = [&best](std::size_t from, std::size_t bytes, double score, Token id) {
      Arrival& there = best[from + bytes];
      if (best[from].score + score > there.score) {
        there = {best[from].score + score, id, static_cast<std::uint32_t>(bytes)};
      }
    };
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t character = utf8::decode(text, at).bytes;
      bool covered = false;
      trie_.walk(text.substr(at), [&](std::size_t bytes, Token id) {
        const auto i = static_cast<std::size_t>(id);
        // User-defined tokens win over everything that costs something.
        const double score =
            vocab_.kind[i] == TokenKind::user_defined ? 0.0 : double{vocab_.score[i]};
        arrive(at, bytes, score, id);
        covered |= bytes == character;
      });
      if (!covered) {
        arrive(at, character, unknown_score_, kNoId);
      }
      at += character;
    }
    std::vector<Arrival> path;
    for (std::size_t end = text.size(); end > 0; end -= best[end].bytes) {
      path.push_back(best[end]);
    }
    std::size_t at = 0;
    for (auto step = path.rbegin(); step != path.rend(); ++step) {
      append_step(*step, text.substr(at, step->bytes), first_id, ids);
      at += step->bytes;
    }
  }

  void append_step(const Arrival& step, std::string_view text, std::size_t first_id,
                   std::vector<Token>& ids) const {
    if (step.id != kNoId) {
      ids.push_back(step.id);
    } else if (falls_back_to_bytes_) {
      const std::string_view bytes = text == kSpaceMark ? std::string_view(" ") : text;
      for (const char byte : bytes) {
        ids.push_back(byte_token_[static_cast<unsigned char>(byte)]);
      }
    } else if (vocab_.unk != kNoId && (ids.size() == first_id || ids.back() != vocab_.unk)) {
      ids.push_back(vocab_.unk);
    }
  }

  Charsmap charsmap_;
  TokenTrie trie_;
  double unknown_score_ = 0.0;
  bool merge_spaces_;
  bool falls_back_to_bytes_ = false;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_unigram(Vocab vocab, const Metadata& metadata,
                                                std::vector<std::string>* warnings) {
  LM_TRY(const bool merge_spaces,
         metadata.bool_or("tokenizer.ggml.remove_extra_whitespaces", false));
  LM_TRY(const auto bytes, metadata.try_ints("tokenizer.ggml.precompiled_charsmap"));
  std::string blob;
  for (std::size_t i = 0; bytes && i < bytes->size(); ++i) {
    blob.push_back(static_cast<char>(static_cast<unsigned char>((*bytes)[i])));
  }
  auto charsmap = Charsmap::read(blob);
  if (!charsmap) {
    Error error = std::move(charsmap).error();
    error.subject = metadata.subject();
    return std::unexpected(std::move(error));
  }
  return std::make_unique<UnigramTokenizer>(std::move(vocab), std::move(*charsmap), merge_spaces,
                                            warnings);
}

}  // namespace lm::tokenizer
