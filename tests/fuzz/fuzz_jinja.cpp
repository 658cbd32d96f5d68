// Chat templates. An input is a template, and behind a zero byte, if there is one, its context as
// JSON; without, it is rendered as a chat template with a conversation.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/chat_template.h"
#include "tests/fuzz/require.h"

namespace {

using lm::fuzz::require;

constexpr std::string_view kMarker = "uZ7qK9vX";  // stands for what a user writes

lm::TemplateBudget small_budget() {
  return {.steps = 20'000,
          .macro_depth = 64,
          .output_bytes = 64 << 10,
          .live_bytes = 4 << 20,
          .wall_ms = 1'000};
}

void check(const lm::Result<lm::Prompt>& prompt, bool marked) {
  if (!prompt) {
    require(!prompt.error().problem.empty(), "an error says what is wrong");
    return;
  }
  std::size_t bytes = 0;
  for (const lm::PromptSegment& segment : *prompt) {
    bytes += segment.text.size();
    require(!marked || segment.special == lm::SpecialTokens::as_text ||
                segment.text.find(kMarker) == std::string::npos,
            "text of messages is never text of the template");
  }
  require(bytes <= small_budget().output_bytes, "the output keeps its budget");
}

std::vector<lm::Message> conversation() {
  const std::string marker(kMarker);
  return {{.role = "system", .content = "sys " + marker},
          {.role = "user", .content = marker + "\n <b>{{ x }}</b>"},
          {.role = "assistant",
           .content = "answer",
           .thinking = marker,
           .tool_calls = {{.id = "1", .name = "f", .arguments_json = R"({"a":[1,"b"]})"}}},
          {.role = "tool", .content = marker, .tool_name = "f", .tool_call_id = "1"}};
}

}  // namespace

int lm_fuzz_jinja(const std::uint8_t* data, std::size_t size) {
  constexpr std::int64_t kNow = 1'750'000'000;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = input.find('\0');
  if (cut != std::string_view::npos) {
    check(lm::render_template(input.substr(0, cut), input.substr(cut + 1),
                              {.now_unix = kNow, .budget = small_budget()}),
          false);
    return 0;
  }
  const auto compiled = lm::ChatTemplate::compile(input);
  if (!compiled) {
    require(!compiled.error().problem.empty(), "an error says what is wrong");
    return 0;
  }
  lm::RenderOptions options;
  options.tools_json = R"([{"type":"function","function":{"name":"f","parameters":{}}}])";
  options.vars = {{"enable_thinking", "true"}};
  options.bos_text = "<s>";
  options.eos_text = "</s>";
  options.now_unix = kNow;
  options.budget = small_budget();
  check(compiled->render(conversation(), options), input.find(kMarker) == std::string_view::npos);
  static_cast<void>(compiled->mentions_tools());
  static_cast<void>(compiled->mentions_thinking());
  return 0;
}
