// Reading tokenizer.* keys: what is repaired, what is refused, what only warns.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/tokenizer/tokenizer.h"
#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

VocabBuilder three_tokens(const std::string& model = "llama") {
  VocabBuilder v(model);
  v.add("<unk>", TokenKind::unknown);
  v.add("<s>", TokenKind::control);
  v.add("</s>", TokenKind::control);
  return v;
}

Result<Vocab> read(VocabBuilder& v) {
  LM_TRY(const GgufFile file, v.file());
  return read_vocab(file.metadata(), &v.warnings);
}

bool warns_of(const VocabBuilder& v, const std::string& words) {
  return std::any_of(v.warnings.begin(), v.warnings.end(),
                     [&](const std::string& w) { return w.find(words) != std::string::npos; });
}

TEST(Vocab, TakesTheDefaultsOfSpm) {
  auto v = three_tokens();
  const auto vocab = read(v);
  ASSERT_TRUE(vocab);
  EXPECT_EQ(vocab->bos, 1);
  EXPECT_EQ(vocab->eos, 2);
  EXPECT_EQ(vocab->unk, 0);
  EXPECT_EQ(vocab->pad, kNoId);
  EXPECT_TRUE(vocab->add_bos);
  EXPECT_FALSE(vocab->add_eos);
  EXPECT_TRUE(vocab->add_space_prefix);
  EXPECT_EQ(vocab->size(), 3u);
  EXPECT_EQ(vocab->text(2), "</s>");
  EXPECT_EQ(vocab->end_of_generation, std::vector<Token>{2});
  EXPECT_TRUE(v.warnings.empty());
}

TEST(Vocab, HasNoDefaultIdsForBpe) {
  auto v = three_tokens("gpt2");
  v.pre = "gpt-2";
  const auto vocab = read(v);
  ASSERT_TRUE(vocab);
  EXPECT_EQ(vocab->bos, kNoId);
  EXPECT_EQ(vocab->eos, kNoId);
  EXPECT_FALSE(vocab->add_bos);
  EXPECT_FALSE(vocab->add_space_prefix);
  EXPECT_TRUE(vocab->end_of_generation.empty());
}

TEST(Vocab, AcceptsIdsInAnyIntegerWidth) {
  auto v = three_tokens();
  v.extra.add("tokenizer.ggml.bos_token_id", std::uint64_t{2})
      .add("tokenizer.ggml.eos_token_id", std::int16_t{1});
  const auto vocab = read(v);
  ASSERT_TRUE(vocab);
  EXPECT_EQ(vocab->bos, 2);
  EXPECT_EQ(vocab->eos, 1);
}

TEST(Vocab, TakesSpecialIdsOutOfRangeAsAbsentAndWarns) {
  for (const std::string key :
       {"bos", "eos", "unknown", "padding", "eot", "eom", "mask", "fim_pre", "seperator"}) {
    for (const std::int64_t id : {std::int64_t{3}, std::int64_t{-1}, std::int64_t{1} << 40}) {
      auto v = three_tokens();
      v.extra.add("tokenizer.ggml." + key + "_token_id", id);
      const auto vocab = read(v);
      ASSERT_TRUE(vocab) << key;
      EXPECT_TRUE(warns_of(v, "'tokenizer.ggml." + key + "_token_id' is " + std::to_string(id)))
          << key << " " << id;
      const Token kept[] = {vocab->bos, vocab->eos, vocab->unk, vocab->pad};
      EXPECT_TRUE(std::all_of(std::begin(kept), std::end(kept),
                              [](Token t) { return t >= kNoId && t < 3; }));
      if (key == "eos") {
        EXPECT_EQ(vocab->eos, kNoId);
        EXPECT_TRUE(vocab->end_of_generation.empty());
      }
    }
  }
}

TEST(Vocab, DropsDefaultIdsThatAreOutOfRange) {
  VocabBuilder v("llama");
  v.add("a");
  const auto vocab = read(v);
  ASSERT_TRUE(vocab);
  EXPECT_EQ(vocab->unk, 0);
  EXPECT_EQ(vocab->bos, kNoId);
  EXPECT_EQ(vocab->eos, kNoId);
}

TEST(Vocab, RefusesIdsOfAWrongType) {
  auto v = three_tokens();
  v.extra.add_string("tokenizer.ggml.bos_token_id", "1");
  const auto vocab = read(v);
  ASSERT_FALSE(vocab);
  EXPECT_EQ(vocab.error().code, ErrorCode::bad_value);
}

TEST(Vocab, CollectsEveryTokenThatEndsGeneration) {
  auto v = three_tokens();
  std::vector<Token> ends = {2};
  for (const char* text :
       {"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<end_of_turn>", "<|endoftext|>",
        "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
        "<eos>", "<turn|>", "<｜end▁of▁sentence｜>", "<|flush|>"}) {
    ends.push_back(v.add(text));
  }
  v.add("<|im_start|>", TokenKind::control);
  v.add("end");
  const Token eot = v.add("stop");
  const Token eom = v.add("message");
  ends.push_back(eot);
  ends.push_back(eom);
  v.extra.add_u32("tokenizer.ggml.eot_token_id", static_cast<std::uint32_t>(eot));
  v.extra.add_u32("tokenizer.ggml.eom_token_id", static_cast<std::uint32_t>(eom));
  const auto vocab = read(v);
  ASSERT_TRUE(vocab);
  EXPECT_EQ(vocab->end_of_generation, ends);
  for (Token id = -2; id < static_cast<Token>(vocab->size()) + 2; ++id) {
    EXPECT_EQ(vocab->is_end_of_generation(id),
              std::find(ends.begin(), ends.end(), id) != ends.end())
        << id;
  }
}

TEST(Vocab, LetsEndCloseOnlyAMessageWhereReturnAndCallCloseTheAnswer) {
  for (const auto& [first, second] :
       {std::pair{"<|return|>", "<|call|>"}, std::pair{"<|calls|>", "<|flush|>"}}) {
    auto v = three_tokens();
    const Token a = v.add(first);
    const Token end = v.add("<|end|>");
    v.extra.add_u32("tokenizer.ggml.eot_token_id", static_cast<std::uint32_t>(end));
    const auto one = read(v);
    ASSERT_TRUE(one);
    EXPECT_TRUE(one->is_end_of_generation(end)) << first << " alone changes nothing";
    const Token b = v.add(second);
    const auto both = read(v);
    ASSERT_TRUE(both);
    EXPECT_EQ(both->end_of_generation, (std::vector<Token>{2, a, b}));
  }
}

TEST(Vocab, RepairsTypesOfTokensSpeltLikeControlTokens) {
  auto v = three_tokens();
  std::vector<Token> control;
  for (const char* text : {"<|im_end|>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>",
                           "<|fim_prefix|>", "<fim-middle>", "<fim_suffix>", "▁<PRE>", "<MID>",
                           "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"}) {
    control.push_back(v.add(text, TokenKind::user_defined));
  }
  const Token start = v.add("<|start|>", TokenKind::user_defined);
  const Token plain = v.add("<b>", TokenKind::user_defined);
  const auto vocab = read(v);
  ASSERT_TRUE(vocab);
  for (const Token id : control) {
    EXPECT_TRUE(vocab->is_control(id)) << vocab->text(id);
  }
  EXPECT_FALSE(vocab->is_control(start));
  EXPECT_FALSE(vocab->is_control(plain));
}

TEST(Vocab, RefusesWhatDoesNotFitTogether) {
  struct Case {
    const char* what;
    void (*break_it)(VocabBuilder&);
    ErrorCode code;
    const char* words;
  };
  const Case cases[] = {
      {"scores short", [](VocabBuilder& v) { v.scores().pop_back(); }, ErrorCode::bad_vocab,
       "has 2 entries, expected 3"},
      {"scores long", [](VocabBuilder& v) { v.scores().resize(9); }, ErrorCode::bad_vocab,
       "has 9 entries, expected 3"},
      {"no scores listed", [](VocabBuilder& v) { v.scores().clear(); }, ErrorCode::bad_vocab,
       "tokenizer.ggml.scores"},
      {"types short", [](VocabBuilder& v) { v.kinds().pop_back(); }, ErrorCode::bad_vocab,
       "tokenizer.ggml.token_type"},
      {"scores are no numbers",
       [](VocabBuilder& v) {
         v.with_scores = false;
         v.extra.add_strings("tokenizer.ggml.scores", {"1", "2", "3"});
       },
       ErrorCode::bad_value, "tokenizer.ggml.scores"},
      {"pre is a number", [](VocabBuilder& v) { v.extra.add_u32("tokenizer.ggml.pre", 1); },
       ErrorCode::bad_value, "tokenizer.ggml.pre"},
      {"suppressed are texts",
       [](VocabBuilder& v) { v.extra.add_strings("tokenizer.ggml.suppress_tokens", {"a"}); },
       ErrorCode::bad_value, "suppress_tokens"},
  };
  for (const Case& c : cases) {
    auto v = three_tokens();
    c.break_it(v);
    const auto made = v.make();
    ASSERT_FALSE(made) << c.what;
    EXPECT_EQ(made.error().code, c.code) << c.what << ": " << made.error().problem;
    EXPECT_NE(made.error().problem.find(c.words), std::string::npos)
        << c.what << ": " << made.error().problem;
    EXPECT_EQ(made.error().subject, "test.gguf") << c.what;
  }
}

TEST(Vocab, RefusesAnEmptyOrMissingList) {
  VocabBuilder empty("llama");
  const auto made = empty.make();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::bad_vocab);

  const Metadata none;
  EXPECT_EQ(Tokenizer::create(none).error().code, ErrorCode::missing);
}

TEST(Vocab, NamesAModelItDoesNotKnow) {
  for (const std::string model : {"rwkv", "plamo2", "none", "no_vocab", "x"}) {
    auto v = three_tokens(model);
    const auto made = v.make();
    ASSERT_FALSE(made) << model;
    EXPECT_EQ(made.error().code, ErrorCode::unsupported) << model;
    if (model != "none" && model != "no_vocab") {
      EXPECT_NE(made.error().problem.find("'" + model + "'"), std::string::npos)
          << made.error().problem;
    }
  }
}

TEST(Vocab, LoadsOddOnesWithAWarning) {
  auto nan = three_tokens();
  nan.add("a", std::numeric_limits<float>::quiet_NaN());
  nan.add("aa", std::numeric_limits<float>::quiet_NaN());
  nan.add("aaa", std::numeric_limits<float>::infinity());
  nan.add("aaaa", -std::numeric_limits<float>::infinity());
  const auto t = nan.tokenizer();
  EXPECT_TRUE(warns_of(nan, "2 entries are not numbers"));
  EXPECT_EQ(spelt(*t, "aaaaa", SpecialTokens::as_text, false), "aaa|aa");

  auto types = three_tokens();
  types.add("a");
  types.kinds().back() = 99;
  types.add("b");
  types.kinds().back() = 0;
  EXPECT_EQ(spelt(*types.tokenizer(), "ab", SpecialTokens::as_text, false), "a|b");
  EXPECT_TRUE(warns_of(types, "2 entries are no known type"));

  auto bytes = three_tokens();
  for (const char* text : {"<0xG0>", "0x00", "<0x000>", ""}) {
    bytes.add(text, TokenKind::byte);
  }
  EXPECT_EQ(spelt(*bytes.tokenizer(), "a", SpecialTokens::as_text, false), "<unk>");
  EXPECT_TRUE(warns_of(bytes, "4 byte tokens"));

  auto scores = three_tokens();
  scores.with_scores = false;
  EXPECT_TRUE(scores.make());
  EXPECT_TRUE(warns_of(scores, "tokenizer.ggml.scores"));
}

TEST(Vocab, KeepsOnlySuppressedIdsThatExist) {
  auto v = three_tokens();
  v.extra.add_array("tokenizer.ggml.suppress_tokens", std::vector<std::int32_t>{0, 2, 3, -1});
  const auto vocab = read(v);
  ASSERT_TRUE(vocab);
  EXPECT_EQ(vocab->suppressed, (std::vector<Token>{0, 2}));
  EXPECT_TRUE(warns_of(v, "2 ids are outside"));
}

// Whatever the list holds: it loads or is refused, and encoding ends and loses nothing.
TEST(Vocab, SurvivesHostileTokens) {
  const std::string huge(1'000'000, 'a');
  for (const std::string model : {"llama", "gpt2"}) {
    for (const TokenKind kind : {TokenKind::normal, TokenKind::user_defined, TokenKind::control,
                                 TokenKind::byte, TokenKind::unknown, TokenKind::unused}) {
      VocabBuilder v(model);
      v.pre = "gpt-2";
      v.add("<unk>", TokenKind::unknown);
      v.add("", kind);
      v.add("", kind);
      v.add(huge, kind);
      v.add(huge.substr(0, 255) + "b", kind);
      v.add("\xFF\xFE", kind);
      v.add(std::string(3, '\0'), kind);
      for (int i = 0; i < 300; ++i) {
        v.add("same", kind);
      }
      v.merge("\xFF", "\xFE");
      v.merge("same", "same");
      const auto t = v.tokenizer();
      ASSERT_TRUE(t);
      for (const std::string& text :
           {std::string(), std::string("same same"), huge.substr(0, 100'000),
            std::string("\xFF\xFE\xFF"), std::string(5, '\0'), huge.substr(0, 300) + "b"}) {
        for (const SpecialTokens special : {SpecialTokens::as_text, SpecialTokens::parsed}) {
          const auto ids = encode(*t, text, special);
          EXPECT_LE(ids.size(), text.size() + 1);
          EXPECT_TRUE(std::all_of(ids.begin(), ids.end(), [&](Token id) {
            return id >= 0 && static_cast<std::size_t>(id) < t->n_vocab();
          }));
        }
      }
    }
  }
}

TEST(Vocab, TellsOfSpecialTokensThatAreTooLongToBeFound) {
  auto v = three_tokens();
  v.add(std::string(257, 'x'), TokenKind::control);
  v.add(std::string(256, 'x'), TokenKind::control);
  const auto t = v.tokenizer();
  EXPECT_TRUE(warns_of(v, "longer than 256 bytes"));
  EXPECT_EQ(encode(*t, std::string(256, 'x'), SpecialTokens::parsed).back(), 4);
}

}  // namespace LM_FILE
}  // namespace lm::test
