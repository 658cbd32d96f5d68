// Whole models on a Vulkan device, on the CPU, and divided between both at every layer and within
// layers: the same greedy tokens up to the first near tie, and logits within the golden limits.
#include <algorithm>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "backends/vulkan/vulkan_backend.h"
#include "tests/golden/golden.h"

namespace lm {
namespace LM_FILE {

const StopFlag kRun{false};

std::shared_ptr<Backend> gpu() {
  static const std::shared_ptr<Backend> device = [] {
    auto opened = vulkan::make_backend(0, {});
    EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().problem);
    return opened ? std::shared_ptr<Backend>(std::move(*opened)) : nullptr;
  }();
  return device;
}
std::shared_ptr<Backend> host() {
  return make_cpu_backend({.n_threads = 2, .isa_limit = {}});
}

struct Text {
  std::vector<float> logits;  ///< of the prompt's last token
  std::vector<Token> greedy;
};

/// Feeds a prompt in pieces, then decodes greedily.
Text run(const std::shared_ptr<const Model>& model, const golden::Prompt& prompt) {
  Text text;
  auto session = Session::create(model, {.n_ctx = 128, .kv_type = DType::f16, .placement = {}});
  EXPECT_TRUE(session.has_value()) << (session ? "" : session.error().problem);
  if (!session) {
    return text;
  }
  auto sequence = std::move(*(*session)->new_sequence());
  std::vector<float> logits;
  const std::span<const Token> tokens = prompt.tokens;
  for (std::size_t at = 0; at < tokens.size(); at += 33) {
    const auto piece = tokens.subspan(at, std::min<std::size_t>(33, tokens.size() - at));
    EXPECT_TRUE((*session)->evaluate(*sequence, piece, false, kRun, logits).has_value());
  }
  text.logits = logits;
  for (std::size_t i = 0; i < prompt.greedy.size() && !logits.empty(); ++i) {
    const auto best =
        static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    text.greedy.push_back(best);
    EXPECT_TRUE(
        (*session)->evaluate(*sequence, std::span(&best, 1), false, kRun, logits).has_value());
  }
  return text;
}

/// Tokens that come before the golden data's first near tie.
std::size_t certain(const golden::Prompt& prompt, double limit) {
  const double tie = 10.0 * std::sqrt(limit) * golden::deviation(prompt.logits.back().second);
  return static_cast<std::size_t>(std::find_if(prompt.margin.begin(), prompt.margin.end(),
                                               [&](double margin) { return margin < tie; }) -
                                  prompt.margin.begin());
}

void check(const char* name) {
  const golden::Golden golden = golden::load("arch", name);
  const auto with_tokens = std::find_if(golden.prompts.rbegin(), golden.prompts.rend(),
                                        [](const golden::Prompt& p) { return !p.greedy.empty(); });
  ASSERT_NE(with_tokens, golden.prompts.rend());
  const golden::Prompt& prompt = *with_tokens;
  const double limit = golden.tolerance.at("f16_kv_nmse").get<double>();
  const double on_cpu = golden.tolerance.contains("quantised_activation_nmse")
                            ? golden.tolerance.at("quantised_activation_nmse").get<double>()
                            : limit;
  const auto whole = golden::load_model(golden.path, {host()});
  ASSERT_TRUE(whole.has_value());
  const std::uint32_t n_layer = (*whole)->hparams().n_layer;
  const Text expected = run(*whole, prompt);
  const std::size_t n_certain = certain(prompt, std::max(limit, on_cpu));
  std::size_t n = 0;
  std::size_t to_the_end = 0;
  const auto compare = [&](const Placement& placement, const std::string& how) {
    const auto model = golden::load_model(golden.path, {gpu(), host()}, placement);
    ASSERT_TRUE(model.has_value()) << how << ": " << model.error().problem;
    const Text got = run(*model, prompt);
    ASSERT_EQ(got.logits.size(), expected.logits.size()) << how;
    EXPECT_LE(golden::nmse(got.logits, expected.logits), 4.0 * std::max(limit, on_cpu))
        << name << " " << how;
    for (std::size_t i = 0; i < n_certain; ++i) {
      ASSERT_EQ(got.greedy[i], expected.greedy[i]) << name << " " << how << " token " << i;
    }
    ++n;
    to_the_end += got.greedy == expected.greedy;
  };
  compare({}, "on the device alone");
  // The first layers on the CPU, the rest on the device, at every boundary.
  for (std::uint32_t first = 1; first <= n_layer; ++first) {
    Placement split;
    for (std::uint32_t layer = 0; layer < n_layer; ++layer) {
      const std::uint16_t device = layer < first ? 1 : 0;
      split.attention.push_back(device);
      split.ffn.push_back(device);
      split.experts.push_back(device);
    }
    split.embedding = 1;
    compare(split, fmt::format("from layer {} on the device", first));
  }
  // Within layers: attention on the device, the rest on the CPU; then the other way round.
  for (const std::uint16_t attention : {std::uint16_t{0}, std::uint16_t{1}}) {
    Placement split;
    const auto other = static_cast<std::uint16_t>(1 - attention);
    split.attention.assign(n_layer, attention);
    split.ffn.assign(n_layer, other);
    split.experts.assign(n_layer, attention);
    split.output = other;
    compare(split, attention == 0 ? "attention on the device" : "attention on the CPU");
  }
  fmt::print("{}: {} placements, {} of them equal to the last of {} tokens ({} certain)\n", name, n,
             to_the_end, expected.greedy.size(), n_certain);
  EXPECT_GE(10 * to_the_end, 9 * n);
}

TEST(VulkanSplit, GivesTheCpusTokensForLlama) {
  check("llama-gqa");
}
TEST(VulkanSplit, GivesTheCpusTokensForExperts) {
  check("qwen3moe");
}
TEST(VulkanSplit, GivesTheCpusTokensForRecurrentLayers) {
  check("qwen35");
}

}  // namespace LM_FILE
}  // namespace lm
