// Expressions of the models' tokenizers, by the name that GGUF files give them in
// tokenizer.ggml.pre.
//
// Facts of the models' published tokenizer.json, as llama.cpp's src/llama-vocab.cpp lists them,
// except:
// - gpt-4o, tekken: the models' own, with \p{M}, which llama.cpp leaves out;
// - kimi-k2: the model's own (tokenization_kimi.py); the list has only a placeholder for it. Its
// class intersection
//   [X&&[^\p{Han}]] is written (?!\p{Han})[X] here.
#include <algorithm>
#include <array>
#include <iterator>

#include "runtime/tokenizer/pretokenize.h"

namespace lm::tokenizer {
namespace {

// clang-format off
// GPT-2.
constexpr std::string_view kGpt2 =
    R"~('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))~";
// Llama 3, cl100k_base.
constexpr std::string_view kLlama3 =
    R"~((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})~"
    R"~({1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)~";
// As Llama 3, digit by digit.
constexpr std::string_view kQwen2 =
    R"~((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})~"
    R"~(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)~";
// As Qwen2, marks belong to words.
constexpr std::string_view kQwen35 =
    R"~((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}])~"
    R"~(+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)~";
// As Qwen2, line breaks end a run of punctuation.
constexpr std::string_view kSeedCoder =
    R"~((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})~"
    R"~({1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)~";
// As Qwen2, one line break at a time.
constexpr std::string_view kBailing =
    R"~('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L})~"
    R"~(\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)~";
// Words cut before capitals.
constexpr std::string_view kTekken =
    R"~([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L})~"
    R"~(\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N})~"
    R"~(]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)~";
// o200k_base: as Tekken, with contractions and digits in threes.
constexpr std::string_view kO200k =
    R"~([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'r)~"
    R"~(e|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo})~"
    R"~(\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s)~"
    R"~(+(?!\S)|\s+)~";
// Words cut before ASCII capitals.
constexpr std::string_view kMinimaxM2 =
    R"~([^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+(?:'[sS]|'[tT]|'[rR][eE]|')~"
    R"~([vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^)~"
    R"~(A-Z]))*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L})~"
    R"~(\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)~";
// BLOOM and kin: everything between spaces and punctuation.
constexpr std::string_view kNoPunctuation =
    R"~( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)~";
constexpr std::string_view kCjk =
    R"~([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)~";
constexpr std::string_view kDeepseekLlmWord =
    R"~(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})~"
    R"~(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a})~"
    R"~(\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556})~"
    R"~(\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf})~"
    R"~(\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d})~"
    R"~(\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-)~"
    R"~(\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc})~"
    R"~(\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc})~"
    R"~(\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128})~"
    R"~(\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e})~"
    R"~(\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3})~"
    R"~(\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e})~"
    R"~(\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a})~"
    R"~(\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-)~"
    R"~(\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)~";
constexpr std::string_view kDeepseekLlmPunctuation =
    R"~(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)~";
constexpr std::string_view kDeepseekV3 =
    R"~([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[)~"
    R"~(\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)~";
constexpr std::string_view kHanKana =
    R"~([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)~";
// Kimi K2: Han characters apart from other words.
constexpr std::string_view kKimiK2 =
    R"~(\p{Han}+)~"
    R"~(|[^\r\n\p{L}\p{N}]?(?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])*)~"
    R"~((?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}])+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)~"
    R"~(|[^\r\n\p{L}\p{N}]?(?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])+)~"
    R"~((?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}])*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)~"
    R"~(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)~";
// clang-format on

using Expressions = std::span<const std::string_view>;

constexpr std::string_view kDefaultList[] = {R"~([\p{P}\$\+<=>\^~\|]+)~", kGpt2, R"~(\p{N}+)~",
                                             "[0-9][0-9][0-9]"};
constexpr std::string_view kFalconList[] = {R"~([\p{P}\$\+<=>\^~\|`]+)~", kGpt2, "[0-9][0-9][0-9]"};
constexpr std::string_view kGpt2List[] = {kGpt2};
constexpr std::string_view kGpt2DigitsList[] = {R"~(\p{N})~", kGpt2};
constexpr std::string_view kLlama3List[] = {kLlama3};
constexpr std::string_view kQwen2List[] = {kQwen2};
constexpr std::string_view kQwen35List[] = {kQwen35};
constexpr std::string_view kSeedCoderList[] = {kSeedCoder};
constexpr std::string_view kBailingList[] = {kBailing};
constexpr std::string_view kTekkenList[] = {kTekken};
constexpr std::string_view kO200kList[] = {kO200k};
constexpr std::string_view kMinimaxM2List[] = {kMinimaxM2};
constexpr std::string_view kKimiK2List[] = {kKimiK2};
constexpr std::string_view kBloomList[] = {kNoPunctuation};
constexpr std::string_view kVikingList[] = {kNoPunctuation, R"~(\p{N})~"};
constexpr std::string_view kSuperbpeList[] = {R"~(\p{N}+)~", R"~((?=(\d{3})+(?!\d)))~"};
constexpr std::string_view kGemma4List[] = {R"~([^\n]+|[\n]+)~"};
constexpr std::string_view kDeepseekLlmList[] = {
    R"~([\r\n])~", kDeepseekLlmWord, kDeepseekLlmPunctuation, R"~(\s+$)~", kCjk, R"~(\p{N}+)~"};
constexpr std::string_view kDeepseekCoderList[] = {R"~([\r\n])~", R"~(\s?\p{L}+)~",
                                                   R"~(\s?\p{P}+)~", kCjk, R"~(\p{N})~"};
constexpr std::string_view kDeepseekV3List[] = {R"~(\p{N}{1,3})~", kHanKana, kDeepseekV3};

struct Row {
  std::string_view name;
  Expressions expressions;
  bool ignore_merges = false;
  bool add_bos = false;
  bool byte_level = true;
};

constexpr Row kRows[] = {
    {"default", kDefaultList},
    // Llama 3
    {"llama-bpe", kLlama3List, true, true},
    {"llama3", kLlama3List, true, true},
    {"llama-v3", kLlama3List, true, true},
    {"falcon3", kLlama3List, true, true},
    {"falcon-h1", kLlama3List, true, true},
    {"pixtral", kLlama3List, true, true},
    {"midm-2.0", kLlama3List, true, true},
    {"lfm2", kLlama3List, true, true},
    {"jina-v5-nano", kLlama3List, true, true},
    {"dbrx", kLlama3List},
    {"smaug-bpe", kLlama3List},
    {"chatglm-bpe", kLlama3List},
    {"glm4", kLlama3List},
    // Qwen 2
    {"qwen2", kQwen2List},
    {"deepseek-r1-qwen", kQwen2List},
    {"stablelm2", kQwen2List},
    {"megrez", kQwen2List},
    {"hunyuan", kQwen2List},
    {"grok-2", kQwen2List},
    {"kormo", kQwen2List},
    {"f2llmv2", kQwen2List},
    {"qwen35", kQwen35List},
    {"seed-coder", kSeedCoderList},
    {"bailingmoe", kBailingList},
    {"bailingmoe2", kBailingList},
    {"llada-moe", kBailingList},
    // GPT-2
    {"gpt-2", kGpt2List},
    {"phi-2", kGpt2List},
    {"mpt", kGpt2List},
    {"olmo", kGpt2List},
    {"jais", kGpt2List},
    {"exaone4", kGpt2List},
    {"trillion", kGpt2List},
    {"roberta-bpe", kGpt2List},
    {"jina-v1-en", kGpt2List},
    {"jina-v2-code", kGpt2List},
    {"modern-bert", kGpt2List},
    {"jina-es", kGpt2List},
    {"jina-de", kGpt2List},
    {"jina-v2-es", kGpt2List},
    {"jina-v2-de", kGpt2List},
    {"gigachat", kGpt2List},
    {"a.x-4.0", kGpt2List},
    {"mellum", kGpt2List},
    {"starcoder", kGpt2DigitsList},
    {"refact", kGpt2DigitsList},
    {"command-r", kGpt2DigitsList},
    {"smollm", kGpt2DigitsList},
    {"codeshell", kGpt2DigitsList},
    {"exaone", kGpt2DigitsList},
    {"minerva-7b", kGpt2DigitsList},
    {"falcon", kFalconList},
    // o200k_base and other words cut before capitals
    {"gpt-4o", kO200kList},
    {"llama4", kO200kList},
    {"kanana2", kO200kList},
    {"tekken", kTekkenList, true, true},
    {"kimi-k2", kKimiK2List},
    {"minimax-m2", kMinimaxM2List},
    // DeepSeek
    {"deepseek-llm", kDeepseekLlmList},
    {"deepseek-coder", kDeepseekCoderList},
    {"deepseek-v3", kDeepseekV3List},
    {"hunyuan-dense", kDeepseekV3List},
    // BLOOM
    {"bloom", kBloomList},
    {"poro-chat", kBloomList},
    {"gpt3-finnish", kBloomList},
    {"viking", kVikingList},
    {"superbpe", kSuperbpeList},
    {"gemma4", kGemma4List, false, false, false},
};

}  // namespace

std::optional<PretokenizerSpec> find_pretokenizer(std::string_view name) {
  const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                 [name](const Row& r) { return r.name == name; });
  if (row == std::end(kRows)) {
    return std::nullopt;
  }
  return PretokenizerSpec{row->expressions, row->ignore_merges, row->add_bos, row->byte_level};
}

std::vector<std::string_view> pretokenizer_names() {
  std::vector<std::string_view> names;
  for (const Row& row : kRows) {
    names.push_back(row.name);
  }
  return names;
}

}  // namespace lm::tokenizer
