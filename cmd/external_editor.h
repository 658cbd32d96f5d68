/// A text edited in the user's own editor (Ctrl+G, /edit).
#pragma once

#include <optional>
#include <string>

namespace lm::cmd {

/// Opens `text` in the command `editor` ("vi", "code --wait") and returns what was saved, without
/// the last line end. None: the editor failed; a note on stderr says how.
std::optional<std::string> edit_text(const std::string& editor, const std::string& text);

}  // namespace lm::cmd
