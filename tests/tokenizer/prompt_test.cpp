#include "runtime/chat/prompt.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/tokenizer/vocab_builder.h"

namespace lm::test {
namespace LM_FILE {

PromptSegment written(std::string text) {
  PromptSegment segment;
  segment.text = std::move(text);
  segment.special = SpecialTokens::parsed;
  return segment;
}
PromptSegment said(std::string text) {
  PromptSegment segment;
  segment.text = std::move(text);
  return segment;
}
PromptSegment medium(std::uint32_t index) {
  PromptSegment segment;
  segment.kind = PromptSegment::Kind::media;
  segment.media_index = index;
  return segment;
}

class PromptTest : public testing::Test {
 protected:
  PromptTest() {
    VocabBuilder v("gpt2");
    v.pre = "llama-bpe";
    v.add_byte_characters();
    bos = v.add("<bos>", TokenKind::control);
    end = v.add("<|im_end|>", TokenKind::control);
    ab = v.merge("a", "b");
    v.extra.add_u32("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(bos));
    tokenizer = v.tokenizer();
  }
  Token bos = kNoId, end = kNoId, ab = kNoId;
  std::unique_ptr<Tokenizer> tokenizer;
};

TEST_F(PromptTest, PutsBosInFrontOnce) {
  EXPECT_EQ(encode_prompt(*tokenizer, {written("ab")}, true), (std::vector<Token>{bos, ab}));
  EXPECT_EQ(encode_prompt(*tokenizer, {written("<bos>ab")}, true), (std::vector<Token>{bos, ab}));
  EXPECT_EQ(encode_prompt(*tokenizer, {written("ab")}, false), (std::vector<Token>{ab}));
  EXPECT_EQ(encode_prompt(*tokenizer, {written("<bos>ab")}, false), (std::vector<Token>{bos, ab}));
  EXPECT_EQ(encode_prompt(*tokenizer, {}, true), (std::vector<Token>{bos}));
  EXPECT_EQ(encode_prompt(*tokenizer, {}, false), std::vector<Token>{});
}

TEST_F(PromptTest, KeepsTheSecondOfTwoBosThatTheTemplateWrote) {
  EXPECT_EQ(encode_prompt(*tokenizer, {written("<bos><bos>")}, true),
            (std::vector<Token>{bos, bos}));
}

TEST_F(PromptTest, PutsNoBosInFrontWhereTheVocabularyWantsNone) {
  VocabBuilder v("gpt2");
  v.pre = "qwen2";
  v.add_byte_characters();
  v.extra.add_u32("tokenizer.ggml.bos_token_id", 0);
  EXPECT_EQ(encode_prompt(*v.tokenizer(), {written("")}, true), std::vector<Token>{});
  // Wanted, but there is none.
  VocabBuilder none("gpt2");
  none.pre = "llama-bpe";
  none.add_byte_characters();
  EXPECT_EQ(encode_prompt(*none.tokenizer(), {written("")}, true), std::vector<Token>{});
}

TEST_F(PromptTest, ParsesSpecialTokensInTheTemplateOnly) {
  const auto ids = encode_prompt(
      *tokenizer, {written("ab<|im_end|>"), said("<|im_end|><bos>"), written("<|im_end|>")}, false);
  EXPECT_EQ(ids.front(), ab);
  EXPECT_EQ(ids[1], end);
  EXPECT_EQ(ids.back(), end);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 2);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), bos), 0);
  EXPECT_EQ(tokenizer->decode(ids, true), "ab<|im_end|><|im_end|><bos><|im_end|>");
}

TEST_F(PromptTest, FindsNoSpecialTokenAcrossTheEndOfAMessage) {
  for (const auto& prompt :
       {Prompt{said("<|im_"), written("end|>")}, Prompt{written("<|im_"), said("end|>")},
        Prompt{written("<|im"), said("_"), written("end|>")}}) {
    const auto ids = encode_prompt(*tokenizer, prompt, false);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 0);
  }
  // Two pieces of the template are one text.
  EXPECT_EQ(encode_prompt(*tokenizer, {written("<|im_"), written("end|>")}, false),
            std::vector<Token>{end});
}

TEST_F(PromptTest, LetsWordsSpanTemplateAndMessage) {
  EXPECT_EQ(encode_prompt(*tokenizer, {written("a"), said("b")}, false), std::vector<Token>{ab});
  EXPECT_EQ(encode_prompt(*tokenizer, {said("a"), said(""), said("b")}, false),
            std::vector<Token>{ab});
}

TEST_F(PromptTest, EndsWordsAtMedia) {
  const auto ids = encode_prompt(*tokenizer, {written("a"), medium(0), said("b")}, true);
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids.front(), bos);
}

TEST(Prompt, ReadsAsOneText) {
  EXPECT_EQ(to_text({written("<s>"), said("hi "), medium(3), written("</s>")}),
            "<s>hi [media 3]</s>");
  EXPECT_EQ(to_text({}), "");
}

TEST(Prompt, PutsSpmsSpaceWhereATextBegins) {
  VocabBuilder v("llama");
  v.add("<unk>", TokenKind::unknown);
  v.add("<s>", TokenKind::control);
  v.add("</s>", TokenKind::control);
  v.add_byte_tokens();
  const Token space = v.add("▁");
  const Token a = v.add("a");
  const Token space_a = v.add("▁a", -1.0f);
  const auto t = v.tokenizer();
  EXPECT_EQ(encode_prompt(*t, {said("a")}, true), (std::vector<Token>{1, space_a}));
  EXPECT_EQ(encode_prompt(*t, {written("<s>"), said("aa")}, true),
            (std::vector<Token>{1, space_a, a}));
  EXPECT_EQ(encode_prompt(*t, {written("<s>a "), said("a</s>")}, false)[2], space_a);
  EXPECT_EQ(encode_prompt(*t, {written(" ")}, false), (std::vector<Token>{space, space}));
}

}  // namespace LM_FILE
}  // namespace lm::test
