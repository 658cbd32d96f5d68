/// Chat templates for files that bring none, chosen by what their vocabulary can spell.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "runtime/gguf/metadata.h"

namespace lm {

struct DefaultTemplate {
  std::string_view name;    ///< "chatml", "llama3" …
  std::string_view source;  ///< Jinja
};

/// The template for a vocabulary: its special tokens say which one, and where there are none the
/// model's name. Nothing fits a model that was never taught a conversation.
std::optional<DefaultTemplate> default_template(std::string_view architecture,
                                                std::string_view model_name,
                                                std::span<const std::string_view> tokens);

/// As above, for a file.
std::optional<DefaultTemplate> default_template(const Metadata& metadata);

/// All of them, for tests.
std::span<const DefaultTemplate> default_templates();

}  // namespace lm
