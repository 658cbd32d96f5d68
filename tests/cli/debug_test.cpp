// lm debug against golden data: token ids, prompts, logits, tensors.
#include <cmath>

#include <fmt/format.h>

#include "tests/cli/cli_test.h"

namespace lm::test {
namespace LM_FILE {

using nlohmann::json;

class Debug : public CliTest {
 protected:
  json run_json(const std::vector<std::string>& words, const RunOptions& options = {}) {
    const Finished result = run(words, options);
    EXPECT_CODE(result, 0);
    return json::parse(result.out, nullptr, false);
  }
};

double nmse(const std::vector<double>& got, const std::vector<double>& expected) {
  double error = 0, power = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    power += expected[i] * expected[i];
  }
  return got.size() == expected.size() ? error / power : INFINITY;
}

std::string join(const std::vector<int>& ids) {
  return fmt::format("{}", fmt::join(ids, ","));
}

const std::vector<std::string> kArchitectures{"llama-gqa", "llama3-rope", "qwen2", "qwen3"};

TEST_F(Debug, LogitsAndGreedyTokensAreGolden) {
  for (const std::string& name : kArchitectures) {
    const fs::path model = golden_data() / "arch" / (name + ".gguf");
    const json golden = json::parse(read_file(golden_data() / "arch" / (name + ".json")));
    const double tolerance = golden.at("tolerance").at("f16_kv_nmse");
    std::size_t prompts = 0;
    for (const json& prompt : golden.at("prompts")) {
      const auto ids = prompt.at("tokens").get<std::vector<int>>();
      const auto expected_greedy = prompt.value("greedy", std::vector<int>{});
      const json result =
          run_json({"debug", "logits", model.string(), "--ids", join(ids), "--all", "--greedy",
                    std::to_string(expected_greedy.size()), "--ctx", "256"});
      ASSERT_EQ(result.at("n_vocab"), 320);
      ASSERT_EQ(result.at("positions").size(), ids.size());
      EXPECT_FALSE(result.at("ops_by_executor").empty());
      double spread = 0;
      for (const auto& [position, row] : prompt.at("logits").items()) {
        const std::size_t p = std::stoul(position);
        EXPECT_EQ(result.at("positions").at(p).at("pos"), p);
        EXPECT_LE(nmse(result.at("positions").at(p).at("logits").get<std::vector<double>>(),
                       row.at("values").get<std::vector<double>>()),
                  tolerance)
            << name << " position " << p;
        spread = row.at("std");
      }
      const auto margins = prompt.value("greedy_margin", std::vector<double>{});
      for (std::size_t i = 0;
           i < expected_greedy.size() && margins[i] >= 10 * std::sqrt(tolerance) * spread; ++i) {
        ASSERT_EQ(result.at("greedy").at(i), expected_greedy[i]) << name << " step " << i;
      }
      ++prompts;
    }
    EXPECT_EQ(prompts, 6u);
  }
}

TEST_F(Debug, TheReferenceBackendAgreesAndSaysItsName) {
  for (const std::string& name : kArchitectures) {
    const std::string model = (golden_data() / "arch" / (name + ".gguf")).string();
    const json cpu = run_json(
        {"debug", "logits", model, "--ids", "1,20,30", "--greedy", "4", "--kv-type", "f32"});
    const json reference = run_json({"debug", "logits", model, "--ids", "1,20,30", "--greedy", "4",
                                     "--kv-type", "f32", "--backend", "reference"});
    EXPECT_EQ(cpu.at("backend"), "cpu");
    EXPECT_EQ(reference.at("backend"), "reference");
    EXPECT_TRUE(reference.at("ops_by_executor").contains("reference"));
    EXPECT_EQ(cpu.at("greedy"), reference.at("greedy"));
    EXPECT_LE(nmse(cpu.at("positions").at(0).at("logits").get<std::vector<double>>(),
                   reference.at("positions").at(0).at("logits").get<std::vector<double>>()),
              1e-8);
  }
}

TEST_F(Debug, LogitsReadBackToTheSameFloat) {
  const Finished a = run({"debug", "logits", tiny_model().string(), "--ids", "1,2,3"});
  const json parsed = json::parse(a.out);
  for (const double value : parsed.at("positions").at(0).at("logits").get<std::vector<double>>()) {
    EXPECT_EQ(fmt::format("{:.9g}", static_cast<float>(value)), fmt::format("{:.9g}", value));
  }
  EXPECT_EQ(run({"debug", "logits", tiny_model().string(), "--ids", "1, 2 3"}).out, a.out);
}

TEST_F(Debug, LogitsRefusesWhatItCannotDo) {
  const std::string model = tiny_model().string();
  EXPECT_CODE(run({"debug", "logits", model, "--ids", "320"}), 1);
  EXPECT_CODE(run({"debug", "logits", model, "--ids", "-1"}), 1);
  EXPECT_CODE(run({"debug", "logits", model, "--ids", "1,x"}), 2);
  EXPECT_CODE(run({"debug", "logits", model, "--ids", ""}), 2);
  const Finished result =
      run({"debug", "logits", model, "--ids", "1,2,3", "--ctx", "8", "--greedy", "6"});
  EXPECT_CODE(result, 1);
  EXPECT_NE(result.err.find("9 tokens"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("8"), std::string::npos) << result.err;
}

TEST_F(Debug, TensorsAreGoldenToTheBit) {
  std::size_t rows = 0;
  for (const char* type : {"F16_BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q5_K", "Q6_K"}) {
    const std::string model = (golden_data() / "quant" / (std::string(type) + ".gguf")).string();
    const json golden =
        json::parse(read_file(golden_data() / "quant" / (std::string(type) + ".json")));
    for (const auto& [name, tensor] : golden.at("tensors").items()) {
      if (!tensor.contains("rows")) {
        continue;
      }
      for (const auto& [row, values] : tensor.at("rows").items()) {
        const json result = run_json({"debug", "tensor", model, name, "--rows",
                                      fmt::format("{}:{}", row, std::stoul(row) + 1)});
        EXPECT_EQ(result.at("type"), tensor.at("type"));
        EXPECT_EQ(result.at("shape"), tensor.at("shape"));
        ASSERT_EQ(result.at("rows").size(), 1u);
        ASSERT_EQ(result.at("rows").at(0).size(), values.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
          ASSERT_EQ(result.at("rows").at(0).at(i).get<float>(), values.at(i).get<float>())
              << type << " " << name;
        }
        ++rows;
      }
    }
  }
  EXPECT_GE(rows, 14u);
}

TEST_F(Debug, TensorRowsAndNamesAreChecked) {
  const std::string model = tiny_model().string();
  EXPECT_EQ(run_json({"debug", "tensor", model, "output_norm.weight"}).at("rows").size(), 1u);
  EXPECT_EQ(
      run_json({"debug", "tensor", model, "token_embd.weight", "--rows", "3:3"}).at("rows").size(),
      0u);
  EXPECT_EQ(
      run_json({"debug", "tensor", model, "token_embd.weight", "--rows", "318:"}).at("rows").size(),
      2u);
  EXPECT_CODE(run({"debug", "tensor", model, "token_embd.weight", "--rows", "0:321"}), 1);
  EXPECT_CODE(run({"debug", "tensor", model, "token_embd.weight", "--rows", "5:2"}), 2);
  EXPECT_CODE(run({"debug", "tensor", model, "token_embd.weight", "--rows", "7"}), 2);
  const Finished result = run({"debug", "tensor", model, "blk.99\x1b[2J"});
  EXPECT_CODE(result, 1);
  EXPECT_FALSE(has_control_bytes(result.err));
}

TEST_F(Debug, TokenizeAndBackOnTheTinyModel) {
  const std::string model = tiny_model_with_bos().string();
  for (const std::string& text :
       {std::string("Once upon a time"), std::string("a\nb\tc"),
        std::string("žluťoučký 猫 \xff\xfe"), std::string(" leading"), std::string("")}) {
    const json ids = run_json({"debug", "tokenize", model, "-"}, {.input = text}).at("ids");
    ASSERT_FALSE(ids.empty());
    EXPECT_EQ(ids.at(0), 1) << "BOS";
    const json bare =
        run_json({"debug", "tokenize", "--no-bos", model, "-"}, {.input = text}).at("ids");
    EXPECT_EQ(bare.size() + 1, ids.size());
    std::vector<std::string> words{"debug", "detokenize", model};
    for (const json& id : ids) {
      words.push_back(std::to_string(id.get<int>()));
    }
    EXPECT_EQ(run(words).out, text);
  }
  const json special = run_json({"debug", "tokenize", model, "</s>"}).at("ids");
  EXPECT_EQ(special, json({1, 2}));
  EXPECT_GT(run_json({"debug", "tokenize", "--no-special", model, "</s>"}).at("ids").size(), 3u);
  EXPECT_CODE(run({"debug", "detokenize", model, "320"}), 1);
  EXPECT_CODE(run({"debug", "detokenize", model, "x"}), 2);
}

TEST_F(Debug, TokenizersOfRealModelsMatch) {
  const fs::path folder = shared_data() / "tokenizers";
  if (!fs::exists(folder)) {
    GTEST_SKIP() << "no test data at " << folder;
  }
  for (const char* name : {"llama-spm", "llama-bpe", "qwen2"}) {
    const std::string model = (folder / (std::string(name) + ".gguf")).string();
    std::size_t cases = 0;
    for (const json& c : json::parse(read_file(folder / (std::string(name) + ".json")))) {
      const std::string text = c.at("text");
      const json result =
          run_json({"debug", "tokenize", "--no-bos", "--no-special", model, "-"}, {.input = text});
      EXPECT_EQ(result.at("ids"), c.at("tokens")) << name << ": " << text;
      if (++cases == 10) {
        break;  // the rest is in tests/tokenizer; here the road through the program counts
      }
    }
    EXPECT_CODE(run({"show", model}), 0);
  }
}

TEST_F(Debug, RenderAnyTemplate) {
  write_file(folder_ / "t.jinja",
             "{%- for m in messages %}\n[{{ m.role }}]{{ m.content }}\n{%- endfor %}\n{{ extra "
             "}}|{{ n }}");
  write_file(folder_ / "c.json",
             R"({"messages":[{"role":"user","content":"<b>é"}],"extra":"x","n":1})");
  const std::vector<std::string> head{"debug",      "render",
                                      "--template", (folder_ / "t.jinja").string(),
                                      "--context",  (folder_ / "c.json").string()};
  EXPECT_EQ(run(head).out, "[user]<b>éx|1");
  std::vector<std::string> more = head;
  more.insert(more.end(), {"--var", "extra=plain words", "--var", "n=[1,2]"});
  EXPECT_EQ(run(more).out, "[user]<b>éplain words|[1, 2]");
  write_file(folder_ / "t.jinja", "a\n  {% if true %}\nb\n  {% endif %}\nc");
  EXPECT_EQ(run(head).out, "a\nb\nc");
  more = head;
  more.insert(more.end(), {"--trim-blocks", "0", "--lstrip-blocks", "0"});
  EXPECT_EQ(run(more).out, "a\n  \nb\n  \nc");
  write_file(folder_ / "t.jinja", "{{ strftime_now('%Y-%m-%d %H:%M') }}");
  more = head;
  more.insert(more.end(), {"--var", "now=2025-07-10T12:00:00"});
  EXPECT_EQ(run(more).out, "2025-07-10 12:00");
}

TEST_F(Debug, RenderAModelsTemplate) {
  create("chat",
         "TEMPLATE \"\"\"{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% "
         "endfor %}"
         "{% if tools %}T{{ tools | length }}{% endif %}{{ flag }}{% if add_generation_prompt "
         "%}<assistant>{% endif %}\"\"\"\n");
  write_file(
      folder_ / "m.json",
      R"([{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"h"},{"type":"text","text":"i"}]}])");
  write_file(folder_ / "tools.json", R"([{"type":"function","function":{"name":"f"}}])");
  const std::string messages = (folder_ / "m.json").string();
  EXPECT_EQ(run({"debug", "render", "chat", "--messages", messages}).out,
            "<s><system>s<user>hi<assistant>");
  EXPECT_EQ(run({"debug", "render", "chat", "--messages", messages, "--no-generation-prompt",
                 "--var", "flag=true", "--tools", (folder_ / "tools.json").string()})
                .out,
            "<s><system>s<user>hiT1True");
  for (const char* bad :
       {"{", "[1]", "[{\"content\":\"x\"}]", "[{\"role\":\"user\",\"content\":7}]", "\"x\""}) {
    write_file(folder_ / "bad.json", bad);
    const Finished result =
        run({"debug", "render", "chat", "--messages", (folder_ / "bad.json").string()});
    EXPECT_CODE(result, 1);
    EXPECT_NE(result.err.find("bad.json"), std::string::npos) << result.err;
    EXPECT_EQ(line_count(result.err), 1u);
  }
  write_file(folder_ / "bad.json", std::string(100000, '['));
  EXPECT_CODE(run({"debug", "render", "chat", "--messages", (folder_ / "bad.json").string()}), 1);
}

TEST_F(Debug, TemplatesThatRefuseSayWhy) {
  create("strict", "TEMPLATE \"{{ raise_exception('no \x1b[31mred allowed') }}\"\n");
  write_file(folder_ / "m.json", R"([{"role":"user","content":"x"}])");
  const Finished result =
      run({"debug", "render", "strict", "--messages", (folder_ / "m.json").string()});
  EXPECT_CODE(result, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("no \\x1b[31mred allowed"), std::string::npos) << result.err;
  EXPECT_CODE(run({"run", "strict", "hello"}), 1);
  EXPECT_CODE(run({"run", "strict", "--raw", "--predict", "2", "hello"}), 0)
      << "a raw prompt needs no template";
}

TEST_F(Debug, RenderingsOfRealTemplatesMatch) {
  const fs::path folder = shared_data() / "templates";
  if (!fs::exists(folder)) {
    GTEST_SKIP() << "no test data at " << folder;
  }
  const json contexts = json::parse(read_file(folder / "contexts.json"));
  std::size_t cases = 0;
  for (const json& c : json::parse(read_file(folder / "cases.json"))) {
    const std::string name = c.at("template");
    const bool mine = name.starts_with("meta-llama-Llama-3.1") ||
                      name.starts_with("Qwen-Qwen2.5") || name.starts_with("Qwen-Qwen3-0.6B");
    if (!mine || !c.contains("expected") || c.at("context") != "user") {
      continue;
    }
    write_file(folder_ / "c.json", contexts.at(c.at("context").get<std::string>()).dump());
    const Finished result =
        run({"debug", "render", "--template", (folder / name).string(), "--context",
             (folder_ / "c.json").string(), "--var", "now=2025-07-10T12:00:00"});
    EXPECT_CODE(result, 0);
    EXPECT_EQ(result.out, c.at("expected").get<std::string>()) << name;
    ++cases;
  }
  EXPECT_GE(cases, 2u);
}

}  // namespace LM_FILE
}  // namespace lm::test
