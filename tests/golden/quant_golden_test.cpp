// Every weight type in a whole model: dequantised on the reference backend, with 8-bit activations
// on the CPU.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/golden/golden.h"

namespace lm {
namespace LM_FILE {

const StopFlag kRun{false};

void run_type(const std::string& name) {
  const golden::Golden golden = golden::load("quant", name);
  std::size_t cases = 0;
  std::vector<std::pair<std::shared_ptr<Backend>, const char*>> devices;
  const std::shared_ptr<Backend> device_of_test = golden::device_of_test();
  devices.emplace_back(device_of_test ? device_of_test : make_reference_backend(),
                       "f32_activation_nmse");
  for (const Isa isa : isa_levels()) {
    if (has_isa(isa) && !device_of_test) {
      devices.emplace_back(make_cpu_backend({.n_threads = 2, .isa_limit = isa}),
                           "quantised_activation_nmse");
    }
  }
  for (const auto& [device, tolerance] : devices) {
    const auto model = golden::load_model(golden.path, {device});
    ASSERT_TRUE(model.has_value()) << model.error().subject << " " << model.error().problem;
    auto session =
        Session::create(*model, {.n_ctx = golden.n_ctx, .kv_type = DType::f32, .placement = {}});
    ASSERT_TRUE(session.has_value()) << session.error().problem;
    const double limit = golden.tolerance.at(tolerance).get<double>();
    for (const golden::Prompt& prompt : golden.prompts) {
      for (const std::size_t piece : {std::size_t{512}, std::size_t{1}, std::size_t{5}}) {
        auto sequence = std::move(*(*session)->new_sequence());
        std::vector<float> got;
        std::vector<float> part;
        for (std::size_t at = 0; at < prompt.tokens.size(); at += piece) {
          const auto tokens =
              std::span(prompt.tokens).subspan(at, std::min(piece, prompt.tokens.size() - at));
          ASSERT_TRUE((*session)->evaluate(*sequence, tokens, true, kRun, part).has_value());
          got.insert(got.end(), part.begin(), part.end());
        }
        const std::size_t n_vocab = got.size() / prompt.tokens.size();
        for (const auto& [position, want] : prompt.logits) {
          const double error =
              golden::nmse(std::span(got).subspan(position * n_vocab, n_vocab), want);
          EXPECT_LE(error, limit) << name << " on " << device->info().id << " "
                                  << device->info().detail << " pieces of " << piece << " position "
                                  << position;
        }
        ++cases;
      }
    }
  }
  fmt::print("{}: {} prompts x pieces x backends\n", name, cases);
}

/// Every model of the folder, so that a new file cannot be forgotten here.
std::vector<std::string> names() {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(golden::data_dir() / "quant")) {
    if (entry.path().extension() == ".gguf") {
      found.push_back(entry.path().stem().string());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

TEST(QuantGoldenFiles, AreAllThere) {
  EXPECT_EQ(names().size(), 23u);
}

class QuantGolden : public testing::TestWithParam<std::string> {};

TEST_P(QuantGolden, AgreesWithTheReferenceEngine) {
  run_type(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Files, QuantGolden, testing::ValuesIn(names()),
                         [](const testing::TestParamInfo<std::string>& p) { return p.param; });

}  // namespace LM_FILE
}  // namespace lm
