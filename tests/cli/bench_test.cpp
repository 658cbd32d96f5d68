// lm bench on tiny models: its forms, and figures that must agree with each other. Nothing here
// says how fast anything is.
#include <cmath>
#include <cstdlib>
#include <set>

#include <fmt/format.h>

#include "tests/cli/cli_test.h"
#include "tests/support/gguf_writer.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

class BenchCommand : public CliTest {
 protected:
  json rows(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "bench");
    arguments.emplace_back("--json");
    const Finished finished = run(arguments);
    EXPECT_CODE(finished, 0);
    return json::parse(finished.out, nullptr, false);
  }
  static fs::path golden(const std::string& name) {
    return golden_data() / "arch" / (name + ".gguf");
  }
  static double number(const json& object, const char* key) { return object.at(key).get<double>(); }
};

void expect_close(double a, double b, double relative, double absolute) {
  EXPECT_LE(std::abs(a - b), relative * std::max(std::abs(a), std::abs(b)) + absolute)
      << a << " and " << b;
}

TEST_F(BenchCommand, PrintsItsRows) {
  const json all = rows({tiny_model().string(), "-p", "16", "-n", "4", "-r", "2", "-d", "8", "-t",
                         "1", "--no-roofs"});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all.at(0).at("test"), "pp16@d8");
  EXPECT_EQ(all.at(1).at("test"), "tg4@d8");
  for (const json& row : all) {
    EXPECT_GT(number(row, "tok_s"), 0);
    EXPECT_LE(number(row, "p10"), number(row, "p90"));
    EXPECT_GT(number(row, "gflop_s"), 0);
    EXPECT_GE(number(row, "gb_s"), 0);
    EXPECT_EQ(row.at("logits_sha256").get<std::string>().size(), 64u);
    EXPECT_LT(number(row, "reference_nmse"), 1e-3);
    EXPECT_FALSE(row.contains("roofs"));
    EXPECT_FALSE(row.contains("memory_share"));
    EXPECT_FALSE(row.contains("ops"));
  }
  EXPECT_EQ(all.at(0).at("steps"), 1);
  EXPECT_EQ(all.at(1).at("steps"), 4);
  EXPECT_FALSE(all.at(0).contains("host"));

  const Finished table = run({"bench", tiny_model().string(), "-p", "0", "-n", "2", "-r", "1",
                              "--backend", "reference", "--no-host"});
  ASSERT_CODE(table, 0);
  EXPECT_EQ(line_count(table.out), 2u) << table.out;
  EXPECT_NE(table.out.find("\ntg2 "), std::string::npos);
  EXPECT_EQ(table.err, "");
}

TEST_F(BenchCommand, RatesStepsAndTokensAgree) {
  for (const char* test : {"prompt", "generation", "sequences"}) {
    const std::string kind = test;
    const json row =
        kind == "prompt" ? rows({tiny_model().string(), "-p", "40", "-n", "0", "--no-roofs"}).at(0)
        : kind == "generation"
            ? rows({tiny_model().string(), "-p", "0", "-n", "40", "--no-roofs"}).at(0)
            : rows({tiny_model().string(), "--sequences", "5", "-p", "3", "-n", "8", "--no-roofs"})
                  .at(0);
    const double seconds = number(row, "step_us") * number(row, "steps") * 1e-6;
    // N sequences give N times the tokens.
    expect_close(number(row, "tok_s") * seconds, 40, 0.01, 0);
  }
}

TEST_F(BenchCommand, SequencesAreARowOfTheirOwn) {
  const json three = rows({tiny_model().string(), "--sequences", "3", "-n", "5", "-r", "1"});
  ASSERT_EQ(three.size(), 1u);
  EXPECT_EQ(three.at(0).at("test"), "tg5x3");
  EXPECT_EQ(three.at(0).at("steps"), 5);
  EXPECT_FALSE(three.at(0).contains("host"));
  const json defaults =
      rows({tiny_model().string(), "--sequences", "2", "-d", "4", "-r", "1", "--no-roofs"});
  EXPECT_EQ(defaults.at(0).at("test"), "tg24x2@d4");
  EXPECT_EQ(defaults.at(0).at("steps"), 24);
  EXPECT_EQ(
      rows({tiny_model().string(), "--sequences", "1", "-r", "1", "--no-roofs"}).at(0).at("test"),
      "tg24x1");
  EXPECT_CODE(run({"bench", tiny_model().string(), "--sequences", "0"}), 2);
}

TEST_F(BenchCommand, EveryKindOfMemoryServesSequencesAtDepth) {
  // Windows, recurrent states, experts, latent attention, learned positions.
  for (const char* name :
       {"gemma3", "qwen35", "lfm2", "qwen3moe", "deepseek2", "gpt2", "gpt-oss"}) {
    SCOPED_TRACE(name);
    const json row = rows({golden(name).string(), "--sequences", "3", "-d", "37", "-p", "2", "-n",
                           "3", "-r", "2", "--no-roofs"})
                         .at(0);
    EXPECT_EQ(row.at("test"), "tg3x3@d37");
    EXPECT_LT(number(row, "reference_nmse"), 1e-2);
  }
}

TEST_F(BenchCommand, EncodersAreMeasuredByTheirPrompts) {
  const json row = rows({golden("bert").string(), "-p", "12", "-n", "0", "-r", "1", "--no-roofs"});
  EXPECT_EQ(row.at(0).at("test"), "pp12");
  EXPECT_LT(number(row.at(0), "reference_nmse"), 1e-3);
}

TEST_F(BenchCommand, OpsAddUpToTheStep) {
  const json all = rows({tiny_model().string(), "-p", "16", "-n", "6", "-r", "3", "--ops",
                         "--no-roofs", "--no-host"});
  ASSERT_EQ(all.size(), 2u);
  for (const json& row : all) {
    double microseconds = 0;
    double shares = 0;
    std::set<std::string> names;
    for (const json& op : row.at("ops")) {
      EXPECT_GE(number(op, "us"), 0) << op;
      EXPECT_GT(number(op, "calls"), 0) << op;
      microseconds += number(op, "us");
      shares += number(op, "share");
      EXPECT_TRUE(names.insert(op.at("op")).second) << op;
    }
    // Each is rounded to four digits.
    expect_close(microseconds, number(row, "step_us"), 0.005, 0);
    expect_close(shares, 1.0, 0.005, 0);
    for (const char* name : {"embed", "norm", "qkv_matmul", "rope_kv_write", "attention", "matmul",
                             "gated_ffn", "logits", "sampling", "rest"}) {
      EXPECT_TRUE(names.contains(name)) << name;
    }
    const auto calls = [&](const std::string& name) {
      for (const json& op : row.at("ops")) {
        if (op.at("op") == name) {
          return number(op, "calls");
        }
      }
      return 0.0;
    };
    EXPECT_EQ(calls("attention"), calls("gated_ffn"));
    EXPECT_EQ(calls("matmul"), 2 * calls("attention"));
    EXPECT_EQ(calls("logits"), 1);
    EXPECT_EQ(calls("embed"), 1);
  }
  const Finished table = run({"bench", tiny_model().string(), "-p", "0", "-n", "2", "-r", "1",
                              "--ops", "--no-roofs", "--no-host"});
  ASSERT_CODE(table, 0);
  EXPECT_NE(table.out.find("\ntg2:\nOP "), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("\nattention "), std::string::npos);
}

TEST_F(BenchCommand, RoofsAreMeasuredAndSharesAreOfThem) {
  const json row = rows({tiny_model().string(), "-p", "32", "-n", "0", "-r", "1"}).at(0);
  const json& roofs = row.at("roofs");
  EXPECT_GT(number(roofs, "int8_gop_s"), 0);
  EXPECT_GT(number(roofs, "f32_gflop_s"), 0);
  EXPECT_GE(number(roofs, "threads"), 1);
  expect_close(number(row, "compute_share"), number(row, "gflop_s") / number(roofs, "f32_gflop_s"),
               0.02, 0.01 / number(roofs, "f32_gflop_s"));
  const double read = std::max(number(roofs, "read_1_gb_s"), number(roofs, "read_8_gb_s"));
  if (read > 0) {  // where memory was free for it
    expect_close(number(row, "memory_share"), number(row, "gb_s") / read, 0.02, 0.01 / read);
  }
  const Finished table = run({"bench", tiny_model().string(), "-p", "8", "-n", "0", "-r", "1"});
  EXPECT_NE(table.out.find("\nroofs: "), std::string::npos) << table.out;
}

TEST_F(BenchCommand, HostWorkIsAPartOfAToken) {
  const json row =
      rows({tiny_model().string(), "-p", "0", "-n", "8", "-r", "1", "--no-roofs"}).at(0);
  const json& host = row.at("host");
  EXPECT_GT(number(host, "share"), 0);
  EXPECT_LT(number(host, "share"), 1);
  EXPECT_GE(number(host, "tokens"), 2);
  EXPECT_LE(number(host, "tokens"), 8);
  const double outside =
      number(host, "sampling_us") + number(host, "text_us") + number(host, "rest_us");
  expect_close(number(host, "share"), outside / number(host, "token_us"), 0.01, 0);
}

TEST_F(BenchCommand, TheSameTestGivesTheSameLogits) {
  const std::vector<std::string> test{
      tiny_model().string(), "-p",       "20", "-n", "3", "-r", "2", "-d", "5",
      "--no-roofs",          "--no-host"};
  const json first = rows(test);
  const json second = rows(test);
  std::vector<std::string> other = test;
  other.insert(other.end(), {"--backend", "reference"});
  const json reference = rows(other);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(first.at(i).at("logits_sha256"), second.at(i).at("logits_sha256"));
    EXPECT_NE(first.at(i).at("logits_sha256"), reference.at(i).at("logits_sha256"));
    EXPECT_FALSE(reference.at(i).contains("reference_nmse"));
  }
  EXPECT_NE(first.at(0).at("logits_sha256"), first.at(1).at("logits_sha256"));
}

/// A llama of 440 MB whose weights are all zero: a hole in its file.
fs::path sparse_model(const fs::path& folder) {
  constexpr std::uint32_t kLayers = 60;
  constexpr std::uint32_t kWidth = 256;
  constexpr std::uint32_t kFf = 2048;
  GgufWriter writer;
  writer.add_string("general.architecture", "llama")
      .add_u32("llama.block_count", kLayers)
      .add_u32("llama.context_length", 64)
      .add_u32("llama.embedding_length", kWidth)
      .add_u32("llama.feed_forward_length", kFf)
      .add_u32("llama.attention.head_count", 4)
      .add_u32("llama.attention.head_count_kv", 4)
      .add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> kinds{2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(fmt::format("<0x{:02X}>", byte));
    kinds.push_back(6);
  }
  const auto n_vocab = static_cast<std::uint32_t>(tokens.size());
  writer.add_string("tokenizer.ggml.model", "llama")
      .add_array("tokenizer.ggml.scores", std::vector<float>(n_vocab))
      .add_array("tokenizer.ggml.token_type", kinds)
      .add_strings("tokenizer.ggml.tokens", tokens);
  std::uint64_t bytes = 0;
  const auto add = [&](const std::string& name, std::vector<std::uint64_t> shape) {
    const std::uint64_t size = 4 * shape[0] * (shape.size() > 1 ? shape[1] : 1);
    writer.add_tensor(
        {.name = name, .type_id = 0, .ne = std::move(shape), .data = {}, .offset = bytes});
    bytes += (size + 31) / 32 * 32;
  };
  add("token_embd.weight", {kWidth, n_vocab});
  add("output_norm.weight", {kWidth});
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string at = fmt::format("blk.{}.", layer);
    add(at + "attn_norm.weight", {kWidth});
    add(at + "ffn_norm.weight", {kWidth});
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
      add(at + name + ".weight", {kWidth, kWidth});
    }
    add(at + "ffn_gate.weight", {kWidth, kFf});
    add(at + "ffn_up.weight", {kWidth, kFf});
    add(at + "ffn_down.weight", {kFf, kWidth});
  }
  const fs::path path = folder / "sparse.gguf";
  EXPECT_TRUE(writer.save(path));
  fs::resize_file(path, fs::file_size(path) + bytes);
  return path;
}

TEST_F(BenchCommand, AModelLargerThanMemorySaysWhatSpeedToExpect) {
  const std::string model = sparse_model(folder_).string();
  const std::vector<std::string> bench{"bench", model, "-p", "0",          "-n",
                                       "1",     "-r",  "1",  "--no-roofs", "--no-host"};
  const Finished fits = run(bench);
  ASSERT_CODE(fits, 0);
  EXPECT_EQ(fits.err, "");

  environment_["LM_CPU_MEMORY"] = "400M";
  const Finished measured = run(bench);
  ASSERT_CODE(measured, 0);
  EXPECT_EQ(line_count(measured.err), 1u) << measured.err;
  const std::size_t at = measured.err.find("expect about ");
  ASSERT_NE(at, std::string::npos) << measured.err;
  double rate = 0;
  double disk = 0;
  double bytes = 0;
  ASSERT_EQ(
      std::sscanf(measured.err.c_str() + at,
                  "expect about %lf tok/s (disk %lf GB/s, %lf GB a token)", &rate, &disk, &bytes),
      3)
      << measured.err;
  EXPECT_NEAR(bytes, 0.44, 0.02);
  expect_close(rate * bytes, disk, 0.1, 0.01 * rate);

  const Finished answered =
      run({"run", model, "--raw", "--temp", "0", "--predict", "1", "--ctx", "32", "x"});
  ASSERT_CODE(answered, 0);
  EXPECT_NE(answered.err.find("expect about "), std::string::npos) << answered.err;

  environment_["LM_CPU_MEMORY"] = "much";
  const Finished refused = run(bench);
  EXPECT_CODE(refused, 1);
  EXPECT_NE(refused.err.find("LM_CPU_MEMORY"), std::string::npos) << refused.err;
}

}  // namespace LM_FILE
}  // namespace lm::test
