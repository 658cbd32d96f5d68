#include "runtime/tokenizer/special_spellings.h"

#include <algorithm>
#include <iterator>

namespace lm::tokenizer {
namespace {

// The spellings that llama.cpp looks for (src/llama-vocab.cpp), which are those of the published
// models.
constexpr std::string_view kEndsGeneration[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "<|end_of_text|>",
    "<turn|>",
    "<end_of_utterance>",
    "<|flush|>",
    "<|calls|>",
    "<｜end▁of▁sentence｜>",
};

constexpr std::string_view kInfill[] = {
    "<|fim_prefix|>", "<fim-prefix>",    "<fim_prefix>",    "<｜fim▁begin｜>", "<PRE>",
    "▁<PRE>",         "<|code_prefix|>", "<|prefix|>",      "<|fim_suffix|>",  "<fim-suffix>",
    "<fim_suffix>",   "<｜fim▁hole｜>",  "<SUF>",           "▁<SUF>",          "<|code_suffix|>",
    "<|suffix|>",     "<|fim_middle|>",  "<fim-middle>",    "<fim_middle>",    "<｜fim▁end｜>",
    "<MID>",          "▁<MID>",          "<|code_middle|>", "<|middle|>",      "<|fim_pad|>",
    "<fim-pad>",      "<fim_pad>",       "<PAD>",           "<|fim_repo|>",    "<fim-repo>",
    "<|repo_name|>",  "<REPO>",          "<reponame>",      "<|file_sep|>",
};

bool is_one_of(std::string_view text, const std::string_view* begin, const std::string_view* end) {
  // Nearly every token fails here.
  if (text.size() < 5 ||
      (text[0] != '<' && text[0] != '[' && text[0] != '_' && !text.starts_with("▁<"))) {
    return false;
  }
  return std::find(begin, end, text) != end;
}

}  // namespace

bool ends_generation(std::string_view text) {
  return is_one_of(text, std::begin(kEndsGeneration), std::end(kEndsGeneration));
}

bool is_control_spelling(std::string_view text) {
  return ends_generation(text) || is_one_of(text, std::begin(kInfill), std::end(kInfill));
}

}  // namespace lm::tokenizer
