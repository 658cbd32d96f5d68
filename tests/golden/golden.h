// Golden files of tests/data/golden: tiny models with the outputs of a reference engine.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "backends/cpu/cpu_backend.h"
#include "backends/discover.h"
#include "backends/reference/reference_backend.h"
#include "runtime/engine/session.h"
#include "runtime/model/model.h"

namespace lm::golden {

inline std::filesystem::path data_dir() {
  return std::filesystem::path(LM_SOURCE_DIR) / "tests/data/golden";
}

struct Prompt {
  std::vector<Token> tokens;
  std::vector<std::pair<std::uint32_t, std::vector<float>>> logits;  ///< position -> values
  std::vector<Token> greedy;
  std::vector<double> margin;
  std::vector<Token> argmax;     ///< per position
  std::vector<float> embedding;  ///< of embedding models: pooled, not normalised
};

struct Golden {
  std::string path;  ///< of the model
  std::uint32_t n_ctx = 0;
  nlohmann::json tolerance;
  std::vector<Prompt> prompts;
};

inline Golden load(const std::string& kind, const std::string& name) {
  std::ifstream file(data_dir() / kind / (name + ".json"));
  const nlohmann::json json = nlohmann::json::parse(file);
  Golden golden;
  golden.path = (data_dir() / kind / (name + ".gguf")).string();
  golden.n_ctx = json.at("n_ctx").get<std::uint32_t>();
  golden.tolerance = json.at("tolerance");
  for (const auto& p : json.at("prompts")) {
    Prompt prompt;
    prompt.tokens = p.at("tokens").get<std::vector<Token>>();
    if (p.contains("embedding")) {
      prompt.embedding = p.at("embedding").get<std::vector<float>>();
    }
    const nlohmann::json none = nlohmann::json::object();
    for (const auto& [position, row] : (p.contains("logits") ? p.at("logits") : none).items()) {
      prompt.logits.emplace_back(static_cast<std::uint32_t>(std::stoul(position)),
                                 row.at("values").get<std::vector<float>>());
    }
    if (p.contains("greedy")) {
      prompt.greedy = p.at("greedy").get<std::vector<Token>>();
      prompt.margin = p.at("greedy_margin").get<std::vector<double>>();
    }
    if (p.contains("per_position")) {
      prompt.argmax = p.at("per_position").at("argmax").get<std::vector<Token>>();
    }
    golden.prompts.push_back(std::move(prompt));
  }
  return golden;
}

inline double nmse(std::span<const float> got, std::span<const float> want) {
  double error = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double d = static_cast<double>(got[i]) - static_cast<double>(want[i]);
    error += d * d;
    norm += static_cast<double>(want[i]) * static_cast<double>(want[i]);
  }
  return error / norm;
}

inline double deviation(const std::vector<float>& values) {
  double sum = 0.0;
  double squares = 0.0;
  for (const float v : values) {
    sum += static_cast<double>(v);
    squares += static_cast<double>(v) * static_cast<double>(v);
  }
  const double n = static_cast<double>(values.size());
  return std::sqrt(squares / n - sum / n * (sum / n));
}

/// The device that LM_TEST_BACKEND names ("vulkan"), for tests that otherwise run on the CPU and
/// the reference; null where it names none. One that does not open is a failure, never a skip.
inline std::shared_ptr<Backend> device_of_test() {
  static const std::shared_ptr<Backend> device = []() -> std::shared_ptr<Backend> {
    const char* name = std::getenv("LM_TEST_BACKEND");
    if (name == nullptr || *name == '\0') {
      return nullptr;
    }
    auto opened = open_backend(name);
    if (!opened) {
      fmt::print(stderr, "{}: {}\n", name, opened.error().problem);
      std::abort();
    }
    return std::move(*opened);
  }();
  return device;
}

inline Result<std::shared_ptr<const Model>> load_model(
    const std::string& path, std::vector<std::shared_ptr<Backend>> devices,
    const Placement& placement = {}) {
  LM_TRY(GgufFile file, GgufFile::open(path));
  return Model::load(std::move(file), {std::move(devices), placement, false});
}

}  // namespace lm::golden
