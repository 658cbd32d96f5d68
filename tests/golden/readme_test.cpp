// The README's section on models says what the program does: every supported architecture and the
// golden models that prove it, and names that are refused.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "runtime/model/architecture.h"
#include "tests/golden/golden.h"
#include "tests/support/gguf_writer.h"

namespace lm {
namespace LM_FILE {

std::string models_section() {
  std::ifstream file(std::filesystem::path(LM_SOURCE_DIR) / "README.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string all = text.str();
  const std::size_t begin = all.find("\n## Models");
  return all.substr(begin, all.find("\n## ", begin + 1) - begin);
}

/// What stands between backticks.
std::set<std::string> names_in(std::string_view text) {
  std::set<std::string> names;
  for (std::size_t at = text.find('`'); at != std::string_view::npos; at = text.find('`', at)) {
    const std::size_t end = text.find('`', at + 1);
    names.emplace(text.substr(at + 1, end - at - 1));
    at = end + 1;
  }
  return names;
}

/// Rows of the table: architecture -> golden models.
std::map<std::string, std::set<std::string>> table_rows() {
  std::map<std::string, std::set<std::string>> rows;
  std::istringstream lines(models_section());
  std::string line;
  while (std::getline(lines, line)) {
    const std::size_t second = line.find(" | ", 2);
    if (!line.starts_with("| ") || line.starts_with("| Architecture")) {
      continue;
    }
    rows[line.substr(2, second - 2)] = names_in(line.substr(line.rfind(" | ", line.size() - 3)));
  }
  return rows;
}

Result<std::shared_ptr<const Model>> load(const test::GgufWriter& writer, const std::string& name) {
  const auto path = std::filesystem::path(LM_BINARY_DIR) / ("refused-" + name + ".gguf");
  writer.save(path);
  auto model = golden::load_model(path.string(), {make_reference_backend()});
  std::filesystem::remove(path);
  return model;
}

TEST(ReadmeModels, TableNamesWhatIsSupported) {
  std::set<std::string> supported;
  for (const Architecture* architecture : architectures()) {
    supported.insert(std::string(architecture->name));
  }
  std::set<std::string> listed;
  for (const auto& [name, models] : table_rows()) {
    listed.insert(name);
  }
  EXPECT_EQ(listed, supported);
}

TEST(ReadmeModels, TableNamesEveryGoldenModel) {
  std::map<std::string, std::set<std::string>> there;
  for (const auto& entry : std::filesystem::directory_iterator(golden::data_dir() / "arch")) {
    if (entry.path().extension() == ".json") {
      std::ifstream file(entry.path());
      there[nlohmann::json::parse(file).at("architecture").get<std::string>()].insert(
          entry.path().stem().string());
    }
  }
  EXPECT_EQ(table_rows(), there);
}

TEST(ReadmeModels, RefusesTheOthersByName) {
  const std::string section = models_section();
  const std::size_t begin = section.find("\nNot supported");
  ASSERT_NE(begin, std::string::npos);
  const std::set<std::string> names =
      names_in(section.substr(begin, section.find(" and every name", begin) - begin));
  ASSERT_GT(names.size(), 20u);
  std::size_t refused = 0;
  for (const std::string& name : names) {
    const auto model = load(test::GgufWriter().add_string("general.architecture", name), name);
    ASSERT_FALSE(model.has_value()) << name;
    const Error& error = model.error();
    EXPECT_EQ(error.code, ErrorCode::unsupported_arch) << name << ": " << error.problem;
    EXPECT_NE(error.problem.find(fmt::format("'{}'", name)), std::string::npos) << error.problem;
    EXPECT_NE(error.hint.find(supported_architectures()), std::string::npos) << error.hint;
    fmt::print("{}: {}\n", error.subject, error.problem);
    ++refused;
  }
  fmt::print("{} of {} architectures refused\n", refused, names.size());
}

TEST(ReadmeModels, RefusesVariantsByKey) {
  struct Case {
    const char* arch;
    const char* key;
    std::uint32_t value;
  };
  for (const Case& c : {Case{"bert", "pooling_type", 4}, Case{"qwen3", "pooling_type", 4},
                        Case{"nomic-bert", "moe_every_n_layers", 2}}) {
    test::GgufWriter writer;
    const std::string prefix = std::string(c.arch) + ".";
    writer.add_string("general.architecture", c.arch)
        .add_strings("tokenizer.ggml.tokens", {"<unk>", "<s>", "a"})
        .add_u32(prefix + "context_length", 32)
        .add_u32(prefix + "embedding_length", 8)
        .add_u32(prefix + "block_count", 1)
        .add_u32(prefix + "feed_forward_length", 8)
        .add_u32(prefix + "attention.head_count", 2)
        .add_f32(prefix + "attention.layer_norm_rms_epsilon", 1e-5f)
        .add_f32(prefix + "attention.layer_norm_epsilon", 1e-5f)
        .add_u32(prefix + c.key, c.value)
        .add_zeros("token_embd.weight", DType::f32, {8, 3});
    const auto model = load(writer, prefix + c.key);
    ASSERT_FALSE(model.has_value()) << c.arch << " " << c.key;
    EXPECT_EQ(model.error().code, ErrorCode::unsupported) << model.error().problem;
    EXPECT_EQ(model.error().subject, prefix + c.key);
    fmt::print("{} {}\n", model.error().subject, model.error().problem);
  }
}

}  // namespace LM_FILE
}  // namespace lm
