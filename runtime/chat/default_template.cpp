#include "runtime/chat/default_template.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>
#include <string>
#include <vector>

namespace lm {
namespace {

// The forms are those of the models' documentation. Where a model has no role for the system
// message, it goes in front of the first question.
constexpr std::string_view kChatml =
    R"~({%- for m in messages -%}
{{- '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%})~";

constexpr std::string_view kPhi4 =
    R"~({%- for m in messages -%}
{{- '<|im_start|>' + m['role'] + '<|im_sep|>' + m['content'] + '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant<|im_sep|>' -}}{%- endif -%})~";

constexpr std::string_view kLlama3 =
    R"~({{- bos_token -}}
{%- for m in messages -%}
{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%})~";

constexpr std::string_view kLlama4 =
    R"~({{- bos_token -}}
{%- for m in messages -%}
{{- '<|header_start|>' + m['role'] + '<|header_end|>\n\n' + m['content'] | trim + '<|eot|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|header_start|>assistant<|header_end|>\n\n' -}}{%- endif -%})~";

constexpr std::string_view kLlama2 =
    R"~({%- set ns = namespace(system='') -%}
{%- for m in messages -%}
{%- if m['role'] == 'system' -%}
{%- set ns.system = '<<SYS>>\n' + m['content'] + '\n<</SYS>>\n\n' -%}
{%- elif m['role'] == 'assistant' -%}
{{- ' ' + m['content'] | trim + ' ' + eos_token -}}
{%- else -%}
{{- bos_token + '[INST] ' + ns.system + m['content'] | trim + ' [/INST]' -}}
{%- set ns.system = '' -%}
{%- endif -%}
{%- endfor -%})~";

constexpr std::string_view kMistral =
    R"~({{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- for m in messages -%}
{%- if m['role'] == 'system' -%}
{%- set ns.system = m['content'] + '\n\n' -%}
{%- elif m['role'] == 'assistant' -%}
{{- ' ' + m['content'] | trim + eos_token -}}
{%- else -%}
{{- '[INST] ' + ns.system + m['content'] + '[/INST]' -}}
{%- set ns.system = '' -%}
{%- endif -%}
{%- endfor -%})~";

constexpr std::string_view kMistralTekken =
    R"~({{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- for m in messages -%}
{%- if m['role'] == 'system' -%}
{%- set ns.system = m['content'] + '\n\n' -%}
{%- elif m['role'] == 'assistant' -%}
{{- m['content'] + eos_token -}}
{%- else -%}
{{- '[INST]' + ns.system + m['content'] + '[/INST]' -}}
{%- set ns.system = '' -%}
{%- endif -%}
{%- endfor -%})~";

constexpr std::string_view kMistralV7 =
    R"~({{- bos_token -}}
{%- for m in messages -%}
{%- if m['role'] == 'system' -%}
{{- '[SYSTEM_PROMPT]' + m['content'] + '[/SYSTEM_PROMPT]' -}}
{%- elif m['role'] == 'assistant' -%}
{{- m['content'] + eos_token -}}
{%- else -%}
{{- '[INST]' + m['content'] + '[/INST]' -}}
{%- endif -%}
{%- endfor -%})~";

constexpr std::string_view kGemma =
    R"~({{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- for m in messages -%}
{%- if m['role'] == 'system' -%}
{%- set ns.system = m['content'] | trim + '\n\n' -%}
{%- elif m['role'] == 'assistant' -%}
{{- '<start_of_turn>model\n' + m['content'] | trim + '<end_of_turn>\n' -}}
{%- else -%}
{{- '<start_of_turn>user\n' + ns.system + m['content'] | trim + '<end_of_turn>\n' -}}
{%- set ns.system = '' -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\n' -}}{%- endif -%})~";

constexpr std::string_view kGemma4 =
    R"~({{- bos_token -}}
{%- for m in messages -%}
{%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}
{{- '<|turn>' + role + '\n' + m['content'] | trim + '<turn|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\n' -}}{%- endif -%})~";

constexpr std::string_view kPhi3 =
    R"~({%- for m in messages -%}
{{- '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%})~";

constexpr std::string_view kGranite =
    R"~({%- for m in messages -%}
{{- '<|start_of_role|>' + m['role'] + '<|end_of_role|>' + m['content'] + '<|end_of_text|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_of_role|>assistant<|end_of_role|>' -}}{%- endif -%})~";

constexpr std::string_view kDeepseek =
    R"~({{- bos_token -}}
{%- for m in messages -%}
{%- if m['role'] == 'system' -%}
{{- m['content'] -}}
{%- elif m['role'] == 'assistant' -%}
{{- '<｜Assistant｜>' + m['content'] + '<｜end▁of▁sentence｜>' -}}
{%- else -%}
{{- '<｜User｜>' + m['content'] -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<｜Assistant｜>' -}}{%- endif -%})~";

constexpr std::string_view kCommandR =
    R"~({{- bos_token -}}
{%- for m in messages -%}
{%- set role = {'system': 'SYSTEM', 'assistant': 'CHATBOT'}.get(m['role'], 'USER') -%}
{{- '<|START_OF_TURN_TOKEN|><|' + role + '_TOKEN|>' + m['content'] | trim + '<|END_OF_TURN_TOKEN|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' -}}{%- endif -%})~";

constexpr std::string_view kGlm =
    R"~({{- '[gMASK]<sop>' -}}
{%- for m in messages -%}
{{- '<|' + m['role'] + '|>\n' + m['content'] -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%})~";

constexpr std::string_view kHarmony =
    R"~({%- for m in messages -%}
{%- set role = 'developer' if m['role'] == 'system' else m['role'] -%}
{%- set channel = '<|channel|>final' if role == 'assistant' else '' -%}
{{- '<|start|>' + role + channel + '<|message|>' + m['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%})~";

constexpr std::string_view kZephyr =
    R"~({%- for m in messages -%}
{{- '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%})~";

constexpr std::string_view kVicuna =
    R"~({{- bos_token -}}
{%- for m in messages -%}
{%- if m['role'] == 'system' -%}
{{- m['content'] | trim + '\n\n' -}}
{%- elif m['role'] == 'assistant' -%}
{{- ' ' + m['content'] | trim + eos_token + '\n' -}}
{%- else -%}
{{- 'USER: ' + m['content'] | trim + '\nASSISTANT:' -}}
{%- endif -%}
{%- endfor -%})~";

constexpr DefaultTemplate kTemplates[] = {
    {"chatml", kChatml},
    {"phi4", kPhi4},
    {"llama3", kLlama3},
    {"llama4", kLlama4},
    {"llama2", kLlama2},
    {"mistral", kMistral},
    {"mistral-tekken", kMistralTekken},
    {"mistral-v7", kMistralV7},
    {"gemma", kGemma},
    {"gemma4", kGemma4},
    {"phi3", kPhi3},
    {"granite", kGranite},
    {"deepseek", kDeepseek},
    {"command-r", kCommandR},
    {"glm4", kGlm},
    {"gpt-oss", kHarmony},
    {"zephyr", kZephyr},
    {"vicuna", kVicuna},
};

std::optional<DefaultTemplate> named(std::string_view name) {
  return *std::ranges::find(kTemplates, name, &DefaultTemplate::name);
}

/// A template holds when the vocabulary has all of these tokens; the first row that fits counts.
struct Sign {
  std::string_view first;
  std::string_view second;
  std::string_view name;
};
constexpr Sign kSigns[] = {
    {"<|channel|>", "<|message|>", "gpt-oss"},
    {"<|im_start|>", "<|im_sep|>", "phi4"},
    {"<|im_start|>", "<|im_end|>", "chatml"},
    {"<|start_header_id|>", "<|eot_id|>", "llama3"},
    {"<|header_start|>", "<|eot|>", "llama4"},
    {"<|turn>", "<turn|>", "gemma4"},
    {"<start_of_turn>", "<end_of_turn>", "gemma"},
    {"<|start_of_role|>", "<|end_of_role|>", "granite"},
    {"<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "command-r"},
    {"<｜User｜>", "<｜Assistant｜>", "deepseek"},
    {"[gMASK]", "<sop>", "glm4"},
    {"<|assistant|>", "<|end|>", "phi3"},
    {"[SYSTEM_PROMPT]", "[INST]", "mistral-v7"},
    {"[INST]", "[/INST]", "mistral"},
    {"<|user|>", "<|assistant|>", "zephyr"},
};

/// Models whose vocabulary has no token for turns: only their name tells.
struct Name {
  std::string_view part;
  std::string_view and_part;
  std::string_view name;
};
constexpr Name kNames[] = {
    {"llama-2", "chat", "llama2"},       {"llama2", "chat", "llama2"},
    {"codellama", "instruct", "llama2"}, {"mistral", "instruct", "mistral"},
    {"mixtral", "instruct", "mistral"},  {"zephyr", "", "zephyr"},
    {"tinyllama", "chat", "zephyr"},     {"vicuna", "", "vicuna"},
};

}  // namespace

std::span<const DefaultTemplate> default_templates() {
  return kTemplates;
}

std::optional<DefaultTemplate> default_template(std::string_view architecture,
                                                std::string_view model_name,
                                                std::span<const std::string_view> tokens) {
  std::array<std::array<bool, 2>, std::size(kSigns)> has{};
  bool spaces_marked = false;  // SentencePiece writes U+2581 for spaces
  for (const std::string_view token : tokens) {
    spaces_marked |= token == "▁";
    if (token.size() < 5 || (token[0] != '<' && token[0] != '[')) {
      continue;
    }
    for (std::size_t i = 0; i < std::size(kSigns); ++i) {
      has[i][0] |= token == kSigns[i].first;
      has[i][1] |= token == kSigns[i].second;
    }
  }
  for (std::size_t i = 0; i < std::size(kSigns); ++i) {
    if (has[i][0] && has[i][1]) {
      const bool tekken = kSigns[i].name == "mistral" && !spaces_marked;
      return named(tekken ? "mistral-tekken" : kSigns[i].name);
    }
  }
  std::string name(model_name);
  std::ranges::transform(name, name.begin(), [](char c) {
    return c == ' ' || c == '_' ? '-'
                                : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  for (const Name& row : kNames) {
    if (architecture == "llama" && name.contains(row.part) && name.contains(row.and_part)) {
      return named(row.name);
    }
  }
  return std::nullopt;
}

std::optional<DefaultTemplate> default_template(const Metadata& metadata) {
  const auto tokens = metadata.try_strings("tokenizer.ggml.tokens");
  const auto architecture = metadata.try_string("general.architecture");
  const auto name = metadata.try_string("general.name");
  if (!tokens || !*tokens) {
    return std::nullopt;
  }
  return default_template(architecture ? architecture->value_or("") : "",
                          name ? name->value_or("") : "", **tokens);
}

}  // namespace lm
