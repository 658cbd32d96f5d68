#include "store/progress.h"

#include <fmt/format.h>

namespace lm::store {

Result<void> report_progress(const Progress& progress, std::uint64_t done, std::uint64_t total,
                             std::string_view subject) {
  if (!progress || progress(done, total)) {
    return {};
  }
  return std::unexpected(
      Error{.code = ErrorCode::interrupted,
            .subject = std::string(subject),
            .problem = fmt::format("stopped after {} of {} bytes", done, total)});
}

}  // namespace lm::store
