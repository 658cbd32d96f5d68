#include "cmd/retry_note.h"

#include "cmd/report.h"

namespace lm::cmd {

void print_retry(const registry::Error& because, std::chrono::milliseconds wait) {
  if (wait >= std::chrono::milliseconds(500)) {
    print_note(because.problem + "; trying again");
  }
}

}  // namespace lm::cmd
