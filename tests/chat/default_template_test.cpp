#include "runtime/chat/default_template.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/chat/test_data.h"

namespace lm::test {
namespace LM_FILE {

const std::vector<Message> kChat = {
    {"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Hello."}, {"user", "Why?"}};

std::string chosen(const std::vector<std::string_view>& tokens, std::string_view architecture = "",
                   std::string_view name = "") {
  const auto found = default_template(architecture, name, tokens);
  return found ? std::string(found->name) : "";
}

TEST(DefaultTemplate, IsChosenByTheTokensOfTheVocabulary) {
  EXPECT_EQ(chosen({"a", "<|im_start|>", "<|im_end|>"}, "qwen2"), "chatml");
  EXPECT_EQ(chosen({"<|im_end|>", "<|im_sep|>", "<|im_start|>"}, "phi3"), "phi4");
  EXPECT_EQ(chosen({"<|start_header_id|>", "<|eot_id|>"}, "llama"), "llama3");
  EXPECT_EQ(chosen({"<|header_start|>", "<|eot|>"}, "llama4"), "llama4");
  EXPECT_EQ(chosen({"<start_of_turn>", "<end_of_turn>"}, "gemma2"), "gemma");
  EXPECT_EQ(chosen({"<|turn>", "<turn|>"}, "gemma4"), "gemma4");
  EXPECT_EQ(chosen({"<|start_of_role|>", "<|end_of_role|>"}, "granite"), "granite");
  EXPECT_EQ(chosen({"<|user|>", "<|assistant|>", "<|end|>"}, "phi3"), "phi3");
  EXPECT_EQ(chosen({"<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"}, "command-r"), "command-r");
  EXPECT_EQ(chosen({"<｜User｜>", "<｜Assistant｜>"}, "deepseek2"), "deepseek");
  EXPECT_EQ(chosen({"[gMASK]", "<sop>", "<|user|>", "<|assistant|>"}, "glm4"), "glm4");
  EXPECT_EQ(chosen({"<|channel|>", "<|message|>", "<|end|>"}, "gpt-oss"), "gpt-oss");
  EXPECT_EQ(chosen({"[INST]", "[/INST]", "▁"}, "llama"), "mistral");
  EXPECT_EQ(chosen({"[INST]", "[/INST]", "Ġ"}, "llama"), "mistral-tekken");
  EXPECT_EQ(chosen({"[INST]", "[/INST]", "[SYSTEM_PROMPT]"}, "llama"), "mistral-v7");
}

TEST(DefaultTemplate, IsChosenByTheNameWhereTheVocabularySaysNothing) {
  EXPECT_EQ(chosen({"▁"}, "llama", "Llama-2-7b-chat-hf"), "llama2");
  EXPECT_EQ(chosen({"▁"}, "llama", "CodeLlama 7B Instruct"), "llama2");
  EXPECT_EQ(chosen({"▁"}, "llama", "Mixtral_8x7B_Instruct_v0.1"), "mistral");
  EXPECT_EQ(chosen({"▁"}, "llama", "zephyr-7b-beta"), "zephyr");
  EXPECT_EQ(chosen({"▁"}, "llama", "TinyLlama 1.1B Chat"), "zephyr");
  EXPECT_EQ(chosen({"▁"}, "llama", "vicuna-7b"), "vicuna");
}

TEST(DefaultTemplate, IsNoneForModelsThatOnlyContinueText) {
  EXPECT_EQ(chosen({}), "");
  EXPECT_EQ(chosen({"<s>", "▁", "<|im_start|>"}, "llama", "stories260K"), "");
  EXPECT_EQ(chosen({"<|endoftext|>"}, "gpt2", "zephyr"), "");
}

TEST(DefaultTemplate, AllRenderAConversation) {
  std::set<std::string> seen;
  for (const DefaultTemplate& t : default_templates()) {
    const auto compiled = ChatTemplate::compile(t.source, std::string(t.name));
    ASSERT_TRUE(compiled) << t.name << ": " << compiled.error().problem;
    RenderOptions options;
    options.bos_text = "<s>";
    options.eos_text = "</s>";
    const auto prompt = compiled->render(kChat, options);
    ASSERT_TRUE(prompt) << t.name << ": " << prompt.error().problem;
    std::size_t at = 0;
    const std::string text = joined(*prompt);
    for (const char* part : {"Be brief.", "Hi", "Hello.", "Why?"}) {
      const std::size_t found = text.find(part, at);
      ASSERT_NE(found, std::string::npos) << t.name << ": " << text;
      at = found;
    }
    // What users write is never read as a mark.
    for (const PromptSegment& segment : *prompt) {
      if (segment.text.contains("Why?")) {
        EXPECT_EQ(segment.special, SpecialTokens::as_text) << t.name;
      }
    }
    EXPECT_TRUE(seen.insert(text).second) << t.name << " renders as another one";
  }
  EXPECT_EQ(seen.size(), 18u);
}

std::string rendered(const std::string& name) {
  for (const DefaultTemplate& t : default_templates()) {
    if (t.name == name) {
      RenderOptions options;
      options.bos_text = "<s>";
      options.eos_text = "</s>";
      const auto compiled = ChatTemplate::compile(t.source);
      return compiled ? shown(compiled->render(kChat, options)) : compiled.error().problem;
    }
  }
  return "";
}

TEST(DefaultTemplate, WriteWhatTheModelsWereTaught) {
  EXPECT_EQ(rendered("chatml"),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(rendered("llama3"),
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(
      rendered("llama2"),
      "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Why? [/INST]");
  EXPECT_EQ(rendered("mistral"), "<s>[INST] Be brief.\n\nHi[/INST] Hello.</s>[INST] Why?[/INST]");
  EXPECT_EQ(rendered("gemma"),
            "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello."
            "<end_of_turn>\n<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_EQ(
      rendered("deepseek"),
      "<s>Be "
      "brief.<｜User｜>Hi<｜Assistant｜>Hello.<｜end▁of▁sentence｜><｜User｜>Why?<｜Assistant｜>");
  EXPECT_EQ(rendered("zephyr"),
            "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello.</s>\n<|user|>\nWhy?"
            "</s>\n<|assistant|>\n");
  EXPECT_EQ(rendered("command-r"),
            "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>"
            "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello.<|END_OF_TURN_TOKEN|>"
            "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Why?<|END_OF_TURN_TOKEN|>"
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>");
}

}  // namespace LM_FILE
}  // namespace lm::test
