/// Makes a conversation fit into a context by dropping whole turns.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "backends/error.h"
#include "runtime/chat/message.h"

namespace lm {

struct Fit {
  std::size_t tokens_before = 0;
  std::size_t tokens = 0;            ///< of what is left
  std::size_t dropped_messages = 0;  ///< 0: nothing had to go
};

/// Renders messages and counts their tokens.
using CountTokens = std::function<Result<std::size_t>(const std::vector<Message>&)>;

/// Drops the oldest messages until at most `limit` tokens are left. System messages and the last
/// message stay, and so does what the last message belongs to: a tool's answer never stands without
/// the call. Whole turns go first (a question with all that answers it), within the last turn the
/// oldest call with its answers. Asks `count` about log2(turns) times. Errors: context_exceeded
/// with both numbers when what must stay does not fit; those of `count`.
Result<Fit> fit_messages(std::vector<Message>& messages, std::size_t limit,
                         const CountTokens& count);

}  // namespace lm
