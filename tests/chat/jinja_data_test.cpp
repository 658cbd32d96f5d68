// The engine against what Jinja2 makes of real chat templates and of engine cases (see the README
// of the data).
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/chat/test_data.h"

namespace lm::test {
namespace LM_FILE {

struct Count {
  int same = 0, refused = 0, better = 0;
  std::vector<std::string> wrong;
};

std::string clip(std::string text) {
  constexpr std::size_t kMost = 300;
  return text.size() > kMost ? text.substr(0, kMost) + "…" : text;
}

/// What differs first, for a message.
std::string difference(const std::string& got, const std::string& expected) {
  std::size_t at = 0;
  while (at < got.size() && at < expected.size() && got[at] == expected[at]) {
    ++at;
  }
  const std::size_t from = at > 40 ? at - 40 : 0;
  return "at byte " + std::to_string(at) + "\n  got      " +
         Json(clip(got.substr(from))).dump(-1, ' ', false, Json::error_handler_t::replace) +
         "\n  expected " +
         Json(clip(expected.substr(from))).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// `kind` of an expected error: "raised" must be refused by the template itself with its text,
/// "syntax" by us; with "runtime" the reference failed on types, and an engine may do better.
void judge(Count& count, const std::string& name, const Json& test, const Result<Prompt>& got) {
  if (test.contains("expected")) {
    const std::string expected = test["expected"];
    if (got && joined(*got) == expected) {
      ++count.same;
    } else {
      count.wrong.push_back(name + " " +
                            (got ? difference(joined(*got), expected) : got.error().problem));
    }
    return;
  }
  const std::string kind = test["error"];
  if (got) {
    if (kind == "runtime") {
      ++count.better;
    } else {
      count.wrong.push_back(name + " rendered, but an error (" + kind + ") is expected");
    }
    return;
  }
  ++count.refused;
  if (kind == "raised") {
    std::string text = test["jinja2_error"];
    text = text.substr(text.find(": ") + 2);
    if (got.error().code != ErrorCode::template_refused || got.error().problem != text) {
      count.wrong.push_back(name + " refused with another text: " + got.error().problem);
    }
  }
}

void report(const std::string& suite, const Count& count, const std::set<std::string>& known) {
  std::set<std::string> names;
  for (const std::string& wrong : count.wrong) {
    const std::string name = wrong.substr(0, wrong.find(' '));
    names.insert(name);
    if (!known.contains(name)) {
      ADD_FAILURE() << suite << ": " << wrong;
    }
  }
  for (const std::string& name : known) {
    EXPECT_TRUE(names.contains(name)) << name << " is listed as differing, but renders as expected";
  }
  std::printf(
      "%s: %d renderings the same, %d errors as expected, %d rendered where the reference fails, "
      "%zu differ\n",
      suite.c_str(), count.same, count.refused, count.better, count.wrong.size());
}

TEST(JinjaData, EngineCasesRenderAsJinja2DoesThem) {
  const auto path = data_folder() / "jinja/engine.json";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no test data: " << path << " (447 cases)";
  }
  Count count;
  std::string address;
  for (const Json& test : Json::parse(read_file(path))) {
    const auto got = render(test["template"], test["context"].dump(),
                            test["options"]["trim_blocks"], test["options"]["lstrip_blocks"]);
    judge(count, test["name"], test, got);
    if (test["name"] == "throws-144") {
      address = test["expected"];
      EXPECT_FALSE(got);
    }
  }
  // None has no items; the reference finds out only when they are asked for, and prints where the
  // generator lies in its memory. No engine can print that address: ours says what is wrong.
  EXPECT_EQ(address, "<generator object do_items at 0x7f937dc89080>");
  report("engine", count, {"throws-144"});
}

TEST(JinjaData, LenientCasesRenderOrAreRefused) {
  const auto path = data_folder() / "jinja/lenient.json";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no test data: " << path << " (6 cases)";
  }
  int rendered = 0;
  for (const Json& test : Json::parse(read_file(path))) {
    const auto got = render(test["template"], test["context"].dump(),
                            test["options"]["trim_blocks"], test["options"]["lstrip_blocks"]);
    if (got) {
      EXPECT_EQ(joined(*got), test["expected"]) << test["name"];
      ++rendered;
    }
  }
  std::printf("lenient: %d rendered\n", rendered);
}

TEST(JinjaData, TemplatesOfRealModelsRenderByteForByte) {
  const auto folder = data_folder() / "templates";
  if (!std::filesystem::exists(folder / "cases.json")) {
    GTEST_SKIP() << "no test data: " << folder << " (779 cases)";
  }
  const Json contexts = Json::parse(read_file(folder / "contexts.json"));
  std::map<std::string, std::string> sources;
  Count count;
  for (const Json& test : Json::parse(read_file(folder / "cases.json"))) {
    const std::string file = test["template"];
    const std::string context = test["context"];
    if (!sources.contains(file)) {
      sources[file] = read_file(folder / file);
    }
    judge(count, file + "+" + context, test, render(sources[file], contexts[context].dump()));
  }
  report("templates", count, {});
}

TEST(JinjaData, InlineTemplatesRenderByteForByte) {
  const auto path = data_folder() / "templates/inline.json";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "no test data: " << path << " (63 cases)";
  }
  Count count;
  for (const Json& test : Json::parse(read_file(path))) {
    const auto got = render(test["template"], test["context"].dump(),
                            test["options"]["trim_blocks"], test["options"]["lstrip_blocks"]);
    judge(count, test["name"], test, got);
  }
  report("inline", count, {});
}

}  // namespace LM_FILE
}  // namespace lm::test
