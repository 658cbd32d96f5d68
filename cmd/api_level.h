/// The version of Ollama whose Modelfiles and API this program understands; raised when the
/// instructions and calls of a newer one have been compared. Not lm's own version.
#pragma once

#include <array>

namespace lm::cmd {

inline constexpr std::array<unsigned long, 3> kApiLevel{0, 33, 0};

}  // namespace lm::cmd
