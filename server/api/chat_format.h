/// How a model wants its conversations written: its template, and the marks in its answers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/chat/chat_template.h"
#include "runtime/chat/dialect.h"
#include "runtime/chat/message.h"
#include "runtime/chat/prompt.h"
#include "runtime/tokenizer/tokenizer.h"

namespace lm::api {

/// What the user said about thinking; none: the model's own way.
using Think = std::optional<std::string>;  ///< "true", "false", "low", "medium", "high", "max"

/// Compiles Jinja, or the simple subset of Go's text/template. Errors: bad_template, naming `name`
/// and the line.
Result<ChatTemplate> compile_template(const std::string& source, const std::string& name);

class ChatFormat {
 public:
  /// `source` empty: no template. A template that doesn't compile is an error only when something
  /// is rendered, so that raw prompts and `show` work with any file.
  ChatFormat(const std::string& source, const std::string& model_name, const Tokenizer& tokenizer);

  /// The prompt of a conversation. Without a template the texts follow each other, one a line, the
  /// last one open: what a model that only continues text expects.
  /// `tools_json`: an array of tools as text, or empty. Errors: template_refused, bad_template.
  Result<Prompt> render(const std::vector<Message>& messages, const Think& think,
                        const std::string& tools_json = {}) const;

  bool has_template() const { return has_template_; }
  bool thinks() const { return thinking_.thinks; }
  const ThinkSwitch& thinking() const { return thinking_; }
  /// The template says something about tools.
  bool takes_tools() const { return template_ && template_->mentions_tools(); }
  /// How the model marks its thinking and its calls; no tools are offered here.
  const Dialect& dialect() const { return dialect_; }

 private:
  bool has_template_ = false;
  ThinkSwitch thinking_;
  std::string source_;
  Dialect dialect_;
  std::optional<ChatTemplate> template_;
  std::optional<Error> broken_;
  RenderOptions render_options_;
};

}  // namespace lm::api
