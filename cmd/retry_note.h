/// What a command says while the hub lets it wait.
#pragma once

#include <chrono>

#include "registry/error.h"

namespace lm::cmd {

/// The `on_wait` of registry::HttpClient: a line on stderr where the wait is long enough to notice.
void print_retry(const registry::Error& because, std::chrono::milliseconds wait);

}  // namespace lm::cmd
