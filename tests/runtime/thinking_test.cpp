#include "runtime/engine/thinking.h"

#include <gtest/gtest.h>

namespace lm {
namespace {

std::pair<std::string, std::string> split(ThinkingSplitter splitter, const std::string& text,
                                          std::size_t step) {
  std::string content, thinking;
  auto take = [&](std::vector<ThinkingSplitter::Piece> pieces) {
    for (const auto& piece : pieces) {
      (piece.thinking ? thinking : content) += piece.text;
    }
  };
  for (std::size_t at = 0; at < text.size(); at += step) {
    take(splitter.push(text.substr(at, step)));
  }
  take(splitter.finish());
  return {thinking, content};
}

TEST(ThinkingSplitter, EveryWayOfCuttingGivesTheSame) {
  const std::string text = "\n<think>\nHmm < 3 </thin\n</think>\n\nThe answer <think> is 4.";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    const auto [thinking, content] =
        split(ThinkingSplitter("<think>", "</think>", false), text, step);
    EXPECT_EQ(thinking, "Hmm < 3 </thin\n") << step;
    EXPECT_EQ(content.substr(content.find("The")), "The answer <think> is 4.") << step;
  }
}

TEST(ThinkingSplitter, StartsInsideWhenThePromptOpenedIt) {
  const auto [thinking, content] =
      split(ThinkingSplitter("<think>", "</think>", true), "why\n</think>\nok", 1);
  EXPECT_EQ(thinking, "why\n");
  EXPECT_EQ(content, "ok");
}

TEST(ThinkingSplitter, UnfinishedTagIsTextAfterAll) {
  EXPECT_EQ(split(ThinkingSplitter("<think>", "</think>", false), "<thin", 1).second, "<thin");
  EXPECT_EQ(split(ThinkingSplitter("<think>", "</think>", true), "a</thi", 2).first, "a</thi");
}

TEST(ThinkingSplitter, WithoutTagsEverythingIsContentAndNothingIsHeld) {
  ThinkingSplitter splitter("", "", false);
  const auto pieces = splitter.push("<think>x");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].text, "<think>x");
  EXPECT_FALSE(pieces[0].thinking);
}

}  // namespace
}  // namespace lm
