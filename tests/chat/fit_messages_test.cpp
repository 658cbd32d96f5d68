#include "runtime/chat/fit_messages.h"

#include <gtest/gtest.h>

namespace lm {
namespace LM_FILE {

/// A conversation written as letters: s system, u user, a assistant, t tool; each of ten tokens.
std::vector<Message> conversation(const std::string& roles) {
  std::vector<Message> messages;
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const char* role = roles[i] == 's'   ? "system"
                       : roles[i] == 'u' ? "user"
                       : roles[i] == 'a' ? "assistant"
                                         : "tool";
    messages.push_back({role, std::to_string(i)});
  }
  return messages;
}

std::string numbers(const std::vector<Message>& messages) {
  std::string text;
  for (const Message& message : messages) {
    text += message.content + " ";
  }
  return text;
}

struct Counted {
  std::string left;
  Fit fit;
  int asked = 0;
};

Counted fit(const std::string& roles, std::size_t limit) {
  Counted result;
  std::vector<Message> messages = conversation(roles);
  const auto done = fit_messages(messages, limit, [&](const std::vector<Message>& m) {
    ++result.asked;
    return Result<std::size_t>(m.size() * 10);
  });
  EXPECT_TRUE(done) << done.error().problem;
  result.fit = done.value_or(Fit{});
  result.left = numbers(messages);
  return result;
}

TEST(FitMessages, WhatFitsStays) {
  const Counted all = fit("suaua", 50);
  EXPECT_EQ(all.left, "0 1 2 3 4 ");
  EXPECT_EQ(all.fit.dropped_messages, 0u);
  EXPECT_EQ(all.asked, 1);
}

TEST(FitMessages, OldestTurnsGoWhole) {
  const Counted one = fit("suauau", 50);
  EXPECT_EQ(one.left, "0 3 4 5 ") << "the answer goes with its question";
  EXPECT_EQ(one.fit.tokens_before, 60u);
  EXPECT_EQ(one.fit.tokens, 40u);
  EXPECT_EQ(one.fit.dropped_messages, 2u);
  EXPECT_EQ(fit("suauau", 39).left, "0 5 ");
  EXPECT_EQ(fit("uattauu", 30).left, "5 6 ");
}

TEST(FitMessages, SystemMessagesStayWhereverTheyStand) {
  EXPECT_EQ(fit("suasuau", 30).left, "0 3 6 ");
}

TEST(FitMessages, AToolsAnswerNeverStandsWithoutItsCall) {
  // One question, then calls with answers: the question goes first, then the oldest call.
  EXPECT_EQ(fit("suatatat", 70).left, "0 2 3 4 5 6 7 ");
  EXPECT_EQ(fit("suatatat", 60).left, "0 4 5 6 7 ");
  EXPECT_EQ(fit("suattat", 40).left, "0 5 6 ");
}

TEST(FitMessages, WhatMustStayAndDoesNotFitIsAnErrorWithBothNumbers) {
  std::vector<Message> messages = conversation("suau");
  const auto count = [](const std::vector<Message>& m) {
    return Result<std::size_t>(m.size() * 10);
  };
  const auto failed = fit_messages(messages, 15, count);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::context_exceeded);
  EXPECT_NE(failed.error().problem.find("20"), std::string::npos);
  EXPECT_NE(failed.error().problem.find("15"), std::string::npos);
  EXPECT_EQ(messages.size(), 4u) << "left as it was";
}

TEST(FitMessages, LongConversationsAreRenderedFewTimes) {
  std::string roles = "s";
  for (int i = 0; i < 500; ++i) {
    roles += "ua";
  }
  const Counted result = fit(roles + "u", 300);
  EXPECT_EQ(result.fit.tokens, 300u);
  EXPECT_LT(result.asked, 15);
}

TEST(FitMessages, EmptyAndSingle) {
  std::vector<Message> none;
  EXPECT_TRUE(fit_messages(none, 0, [](const auto&) { return Result<std::size_t>(0); }));
  EXPECT_EQ(fit("u", 10).left, "0 ");
}

}  // namespace LM_FILE
}  // namespace lm
