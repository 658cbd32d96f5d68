/// A model's Jinja chat template: messages become a prompt.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/message.h"
#include "runtime/chat/prompt.h"

namespace lm {

/// What a render may cost, whatever the template does (templates come from files: hostile).
struct TemplateBudget {
  std::uint64_t steps = 2'000'000;
  std::uint32_t macro_depth = 64;
  std::uint64_t output_bytes = 8u << 20;
  std::uint64_t live_bytes = 64u << 20;
  std::uint32_t wall_ms = 2'000;
};

struct RenderOptions {
  bool add_generation_prompt = true;
  std::string tools_json;  ///< array as text, or empty
  std::map<std::string, std::string>
      vars;  ///< further variables, values as JSON texts ("true", "\"x\"", "3")
  std::string bos_text, eos_text;  ///< bos_token and eos_token of the template
  std::int64_t now_unix = 0;       ///< what strftime_now sees; 0: the clock (local time)
  TemplateBudget budget;
};

class ChatTemplate {
 public:
  /// Compiles Jinja source (trim_blocks and lstrip_blocks on, as for chat templates). Errors:
  /// bad_template with line.
  static Result<ChatTemplate> compile(std::string_view source, std::string name = "chat_template");
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// Renders. Text that stems from messages, tools or vars is tagged `as_text`, text of the
  /// template `parsed`, kept apart through every filter and concatenation. Errors: template_refused
  /// (raise_exception, with its text), bad_template (type errors; which budget was exceeded at
  /// which line).
  Result<Prompt> render(const std::vector<Message>& messages, const RenderOptions& options) const;

  /// Capabilities read off the source: tools, thinking (<think> and </think>).
  bool mentions_tools() const;
  bool mentions_thinking() const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Renders any template with any context (JSON texts), for `lm debug render --template`.
struct RawRenderOptions {
  bool trim_blocks = true;
  bool lstrip_blocks = true;
  std::int64_t now_unix = 0;
  TemplateBudget budget;
};
Result<Prompt> render_template(std::string_view source, std::string_view context_json,
                               const RawRenderOptions& options);

/// Parses "2025-07-10T12:00:00" as local time.
std::optional<std::int64_t> parse_now(std::string_view text);

}  // namespace lm
