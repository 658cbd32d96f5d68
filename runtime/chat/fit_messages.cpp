#include "runtime/chat/fit_messages.h"

#include <fmt/core.h>

namespace lm {
namespace {

/// Messages [begin, end) of which all but the system's go together.
struct Piece {
  std::size_t begin, end;
};

bool begins_turn(const Message& message) {
  return message.role == "user";
}

/// The pieces in the order in which they may go; the one with the last message is not among them.
std::vector<Piece> pieces_of(const std::vector<Message>& messages) {
  std::size_t last_turn = messages.size();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    last_turn = begins_turn(messages[i]) ? i : last_turn;
  }
  std::vector<Piece> pieces;
  std::size_t begin = 0;
  for (std::size_t i = 1; i < messages.size(); ++i) {
    // Inside the last turn every message but a tool's answer begins a piece.
    const bool cut = i <= last_turn && last_turn < messages.size() ? begins_turn(messages[i])
                                                                   : messages[i].role != "tool";
    if (cut) {
      pieces.push_back({begin, i});
      begin = i;
    }
  }
  return pieces;
}

std::vector<Message> without(const std::vector<Message>& messages, const std::vector<Piece>& pieces,
                             std::size_t n) {
  const std::size_t end = n == 0 ? 0 : pieces[n - 1].end;
  std::vector<Message> left;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (i >= end || messages[i].role == "system") {
      left.push_back(messages[i]);
    }
  }
  return left;
}

}  // namespace

Result<Fit> fit_messages(std::vector<Message>& messages, std::size_t limit,
                         const CountTokens& count) {
  Fit fit;
  LM_TRY(fit.tokens_before, count(messages));
  fit.tokens = fit.tokens_before;
  if (fit.tokens <= limit) {
    return fit;
  }
  const std::vector<Piece> pieces = pieces_of(messages);
  // The fewest pieces whose loss is enough: `low` are too few, `high` are enough or all there are.
  std::size_t low = 0;
  std::size_t high = pieces.size();
  std::vector<Message> left = without(messages, pieces, high);
  LM_TRY(fit.tokens, count(left));
  if (fit.tokens > limit) {
    return fail(ErrorCode::context_exceeded, "messages",
                fmt::format("the system messages and the last message have {} tokens, {} fit",
                            fit.tokens, limit),
                "shorten them, or use a larger context");
  }
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    std::vector<Message> fewer = without(messages, pieces, middle);
    LM_TRY(const std::size_t tokens, count(fewer));
    if (tokens <= limit) {
      high = middle;
      fit.tokens = tokens;
      left = std::move(fewer);
    } else {
      low = middle;
    }
  }
  fit.dropped_messages = messages.size() - left.size();
  messages = std::move(left);
  return fit;
}

}  // namespace lm
