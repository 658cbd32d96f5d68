#include "server/api/chat_format.h"

#include <fmt/format.h>

#include "runtime/chat/go_template.h"

namespace lm::api {

Result<ChatTemplate> compile_template(const std::string& source, const std::string& name) {
  std::string jinja = source;
  if (is_go_template(source)) {
    auto translated = translate_go_template(source);
    if (!translated) {
      Error failed = translated.error();
      failed.subject = failed.subject.empty() ? name : fmt::format("{}: {}", name, failed.subject);
      failed.hint = "write it in Jinja, as the chat templates of GGUF files are";
      return std::unexpected(std::move(failed));
    }
    jinja = std::move(*translated);
  }
  LM_TRY(ChatTemplate compiled, ChatTemplate::compile(jinja, name));
  return compiled;
}

ChatFormat::ChatFormat(const std::string& source, const std::string& model_name,
                       const Tokenizer& tokenizer)
    : has_template_(!source.empty()) {
  const auto spelling = [&tokenizer](Token id) {
    return id == kNoId ? std::string() : std::string(tokenizer.vocab().text(id));
  };
  render_options_.bos_text = spelling(tokenizer.vocab().bos);
  render_options_.eos_text = spelling(tokenizer.vocab().eos);
  if (!has_template_) {
    return;
  }
  auto compiled = compile_template(source, model_name + ": chat template");
  if (compiled) {
    template_.emplace(std::move(*compiled));
    source_ = source;
    dialect_ = detect_dialect(source);
    thinking_ = think_switch(source);
  } else {
    broken_ = compiled.error();
  }
}

Result<Prompt> ChatFormat::render(const std::vector<Message>& messages, const Think& think,
                                  const std::string& tools_json) const {
  if (broken_) {
    return std::unexpected(*broken_);
  }
  if (!has_template_) {
    Prompt prompt;
    for (const Message& message : messages) {
      PromptSegment segment;
      segment.text = message.content + (&message == &messages.back() ? "" : "\n");
      prompt.push_back(std::move(segment));
    }
    return prompt;
  }
  RenderOptions options = render_options_;
  options.tools_json = tools_json;
  if (think) {
    for (const auto& [name, value] : think_variables(source_, *think)) {
      options.vars[name] = value;
    }
  }
  LM_TRY(Prompt prompt, template_->render(messages, options));
  return prompt;
}

}  // namespace lm::api
