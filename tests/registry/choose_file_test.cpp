#include "registry/choose_file.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "registry/quant_label.h"

namespace lm::registry {
namespace LM_FILE {

std::vector<RepoFile> files(std::initializer_list<std::string> paths) {
  std::vector<RepoFile> out;
  for (const std::string& path : paths) {
    out.push_back({.path = path, .size_bytes = 100'000'000 + path.size()});
  }
  return out;
}

std::string chosen(const std::vector<RepoFile>& list, std::string_view tag) {
  const auto choice = choose_by_tag(list, "u/r", tag);
  if (!choice) {
    return std::string(store::code_name(choice.error().code));
  }
  // The same whatever the order of the list.
  std::vector<RepoFile> reversed(list.rbegin(), list.rend());
  const auto again = choose_by_tag(reversed, "u/r", tag);
  EXPECT_TRUE(again && again->model.path() == choice->model.path()) << tag;
  return choice->model.path();
}

TEST(QuantLabel, ReadsEveryPublishersNames) {
  const std::pair<const char*, const char*> cases[] = {
      {"Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Q4_K_M"},
      {"Qwen_Qwen3-0.6B-Q4_K_M.gguf", "Q4_K_M"},
      {"Qwen_Qwen3-0.6B-bf16.gguf", "BF16"},
      {"Qwen3-8B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"},
      {"UD-Q2_K_XL/Model-UD-Q2_K_XL-00001-of-00003.gguf", "UD-Q2_K_XL"},
      {"model.Q5_K_S.gguf", "Q5_K_S"},
      {"Model.i1-IQ4_XS.gguf", "i1-IQ4_XS"},
      {"mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf", "Q4_K_M"},
      {"qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"},
      {"llama-3.2-1b-instruct-q4_k_m.gguf", "Q4_K_M"},
      {"Model-Q6_K_L.gguf", "Q6_K_L"},
      {"Model-f16.gguf", "F16"},
      {"Model-FP16.gguf", "F16"},
      {"bge-m3-FP16.gguf", "F16"},
      {"mxbai-embed-large-v1_fp16.gguf", "F16"},
      {"nomic-embed-text-v1.5.f16.gguf", "F16"},
      {"gpt-oss-20b-mxfp4.gguf", "MXFP4"},
      {"Model-MXFP4_MOE.gguf", "MXFP4_MOE"},
      {"embeddinggemma-300m-qat-Q8_0.gguf", "Q8_0"},
      {"gemma-3-270m-it-qat-Q4_0.gguf", "Q4_0"},
      {"Model-Q4_0_4_8.gguf", "Q4_0_4_8"},
      {"Model-IQ2_XXS.gguf", "IQ2_XXS"},
      {"Model-TQ1_0.gguf", "TQ1_0"},
      {"mmproj-model-f16.gguf", "F16"},
      {"mmproj-BF16.gguf", "BF16"},
      {"Q8_0-distill-Q4_0.gguf", "Q4_0"},
      {"Model Q4_K_M.gguf", "Q4_K_M"},
      {"Phi-3-mini-4k-instruct-q4.gguf", ""},
      {"model.gguf", ""},
      {"model-00001-of-00002.gguf", ""},
      {"Qwen3-4B.gguf", ""},
      {"", ""},
      {".gguf", ""},
  };
  for (const auto& [path, label] : cases) {
    EXPECT_EQ(label_of_file(path), label) << path;
  }
}

TEST(QuantLabel, ReadsTags) {
  EXPECT_EQ(label_of_text("q4_k_m"), "Q4_K_M");
  EXPECT_EQ(label_of_text("Q4-K-M"), "Q4_K_M");
  EXPECT_EQ(label_of_text("ud-q4_k_xl"), "UD-Q4_K_XL");
  EXPECT_EQ(label_of_text("i1-iq4_xs"), "i1-IQ4_XS");
  EXPECT_EQ(label_of_text("fp16"), "F16");
  EXPECT_EQ(label_of_text("q4"), "");
  EXPECT_EQ(label_of_text("latest"), "");
  EXPECT_EQ(label_bits("UD-Q4_K_XL"), 4);
  EXPECT_EQ(label_bits("BF16"), 16);
  EXPECT_EQ(label_bits("IQ2_XXS"), 2);
  EXPECT_EQ(label_bits(""), 0);
}

TEST(Classify, SortsFilesByTheirNames) {
  const auto kind = [](const char* path, std::uint64_t size = 1'000'000'000) {
    return classify({.path = path, .size_bytes = size});
  };
  EXPECT_EQ(kind("a/Model-Q4_K_M.GGUF"), FileClass::model);
  EXPECT_EQ(kind("mmproj-F16.gguf"), FileClass::projector);
  EXPECT_EQ(kind("gemma-3-4b-it-mmproj.gguf"), FileClass::projector);
  EXPECT_EQ(kind("Model-imatrix.gguf"), FileClass::ignored);
  EXPECT_EQ(kind("imatrix_unsloth.gguf_file"), FileClass::unsupported);
  EXPECT_EQ(kind("mtp-Model.gguf"), FileClass::draft);
  EXPECT_EQ(kind("Model-draft-Q8_0.gguf"), FileClass::draft);
  EXPECT_EQ(kind("ggml-vocab-llama.gguf", 1'000'000), FileClass::ignored);
  EXPECT_EQ(kind("my-vocabulary-model.gguf"), FileClass::model);
  EXPECT_EQ(kind("style-lora.gguf", 1000), FileClass::adapter);
  EXPECT_EQ(kind("model.gguf-split-a"), FileClass::unsupported);
  EXPECT_EQ(kind("model.gguf.part1of2"), FileClass::unsupported);
  EXPECT_EQ(kind("README.md"), FileClass::other);
  EXPECT_EQ(kind("model.safetensors"), FileClass::other);
}

TEST(ChooseFile, TellsF16FromBf16) {
  const auto list = files({"M-BF16.gguf", "M-F16.gguf", "M-Q8_0.gguf"});
  EXPECT_EQ(chosen(list, "F16"), "M-F16.gguf");
  EXPECT_EQ(chosen(list, "fp16"), "M-F16.gguf");
  EXPECT_EQ(chosen(list, "bf16"), "M-BF16.gguf");
  EXPECT_EQ(chosen(files({"M-BF16.gguf", "M-Q8_0.gguf"}), "F16"), "not_found");
}

TEST(ChooseFile, TellsDynamicFromPlainLabels) {
  const auto both = files({"M-Q4_K_M.gguf", "M-UD-Q4_K_M.gguf", "M-UD-Q4_K_XL.gguf"});
  EXPECT_EQ(chosen(both, "Q4_K_M"), "M-Q4_K_M.gguf");
  EXPECT_EQ(chosen(both, "UD-Q4_K_M"), "M-UD-Q4_K_M.gguf");
  EXPECT_EQ(chosen(both, "Q4_K_XL"), "M-UD-Q4_K_XL.gguf");
  EXPECT_EQ(chosen(files({"M-Q4_K_M.gguf"}), "UD-Q4_K_M"), "not_found");
  EXPECT_EQ(chosen(files({"M.i1-Q4_K_M.gguf", "M.i1-Q2_K.gguf"}), "q4_k_m"), "M.i1-Q4_K_M.gguf");
}

TEST(ChooseFile, MatchesFileNamesFirst) {
  const auto list = files({"a/M-Q4_K_M.gguf", "Q4_K_M.gguf", "M-Q8_0.gguf"});
  EXPECT_EQ(chosen(list, "Q4_K_M.gguf"), "Q4_K_M.gguf");
  EXPECT_EQ(chosen(list, "m-q8_0"), "M-Q8_0.gguf");
  EXPECT_EQ(chosen(list, "M-Q8_0.GGUF"), "M-Q8_0.gguf");
  EXPECT_EQ(chosen(list, "m_q8_0"), "M-Q8_0.gguf");
}

TEST(ChooseFile, TreatsTagsAsTextNotAsPatterns) {
  const auto list = files({"MxQ8_0.gguf", "M-Q4_0.gguf"});
  EXPECT_EQ(chosen(list, "M.Q8_0"), "not_found");
  EXPECT_EQ(chosen(list, "Q.*"), "not_found");
  EXPECT_EQ(chosen(list, "(((((("), "not_found");
}

TEST(ChooseFile, CompletesAPrefixOnlyWhenItIsOne) {
  EXPECT_EQ(chosen(files({"M-Q4_K_M.gguf", "M-Q8_0.gguf"}), "q4"), "M-Q4_K_M.gguf");
  EXPECT_EQ(chosen(files({"M-Q4_K_M.gguf", "M-Q4_0.gguf"}), "q4"), "ambiguous");
  EXPECT_EQ(chosen(files({"M-Q4_K_M.gguf", "M-Q4_K_S.gguf"}), "q4_k"), "ambiguous");
}

TEST(ChooseFile, ListsLabelsWithSizesWhenNothingFits) {
  const auto choice = choose_by_tag(files({"M-Q8_0.gguf", "M-Q4_K_M.gguf"}), "u/r", "Q5_K_M");
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().code, ErrorCode::not_found);
  EXPECT_NE(choice.error().hint.find("Q4_K_M (0.10 GB)"), std::string::npos) << choice.error().hint;
  EXPECT_NE(choice.error().hint.find("Q8_0"), std::string::npos);
}

TEST(ChooseFile, FollowsTheDefaultOrder) {
  const char* order[] = {"Q4_K_M", "UD-Q4_K_M",  "Q4_K_S", "IQ4_NL", "IQ4_XS",
                         "Q4_K_L", "UD-Q4_K_XL", "Q4_0",   "MXFP4",  "MXFP4_MOE",
                         "Q5_K_M", "Q5_K_S",     "Q6_K",   "Q8_0",   "Q3_K_M"};
  std::vector<RepoFile> list = files({"M-F16.gguf", "M-BF16.gguf", "M-F32.gguf"});
  EXPECT_EQ(chosen(list, ""), "M-F16.gguf");
  list.push_back(files({"M-Q2_K.gguf"}).front());
  EXPECT_EQ(chosen(list, ""), "M-Q2_K.gguf");
  list.push_back(files({"M-Q5_0.gguf"}).front());
  EXPECT_EQ(chosen(list, ""), "M-Q5_0.gguf");  // the largest label of at most 8 bits
  for (auto it = std::rbegin(order); it != std::rend(order); ++it) {
    list.push_back(files({std::string("M-") + *it + ".gguf"}).front());
    EXPECT_EQ(chosen(list, ""), std::string("M-") + *it + ".gguf");
    EXPECT_EQ(chosen(list, "latest"), std::string("M-") + *it + ".gguf");
  }
}

TEST(ChooseFile, TakesTheOnlyModelEvenWithoutALabel) {
  EXPECT_EQ(chosen(files({"model.gguf", "mmproj-F16.gguf", "README.md"}), ""), "model.gguf");
  EXPECT_EQ(
      chosen(files({"Phi-3-mini-4k-instruct-q4.gguf", "Phi-3-mini-4k-instruct-fp16.gguf"}), ""),
      "Phi-3-mini-4k-instruct-q4.gguf");
}

TEST(ChooseFile, CountsShardsAsOneModel) {
  const auto list = files({"q8_0/M-Q8_0-00002-of-00003.gguf", "q8_0/M-Q8_0-00001-of-00003.gguf",
                           "q8_0/M-Q8_0-00003-of-00003.gguf", "M-Q4_0.gguf"});
  const auto choice = choose_by_tag(list, "u/r", "Q8_0");
  ASSERT_TRUE(choice);
  ASSERT_EQ(choice->model.files.size(), 3u);
  EXPECT_EQ(choice->model.files[0].path, "q8_0/M-Q8_0-00001-of-00003.gguf");
  EXPECT_EQ(choice->model.files[2].path, "q8_0/M-Q8_0-00003-of-00003.gguf");
  EXPECT_EQ(choice->model.size_bytes, list[0].size_bytes * 3);
  EXPECT_EQ(choose_by_tag(list, "u/r", "M-Q8_0-00002-of-00003.gguf")->model.files.size(), 3u);
  EXPECT_EQ(choose_by_file(list, "u/r", "q8_0/M-Q8_0-00001-of-00003.gguf")->model.files.size(), 3u);
}

TEST(ChooseFile, LeavesIncompleteSplitsOut) {
  const auto list = files({"M-Q8_0-00001-of-00003.gguf", "M-Q8_0-00003-of-00003.gguf"});
  const auto choice = choose_by_tag(list, "u/r", "");
  ASSERT_FALSE(choice);
  EXPECT_NE(choice.error().problem.find("lacks shards"), std::string::npos);
  EXPECT_EQ(chosen(files({"M-Q8_0-00002-of-00002.gguf", "M-Q4_0.gguf"}), "Q8_0"), "not_found");
  // Index 0, an index above the count, and two splits with different counts never mix.
  EXPECT_EQ(chosen(files({"M-00000-of-00001.gguf"}), ""), "not_found");
  EXPECT_EQ(chosen(files({"M-00001-of-00002.gguf", "M-00002-of-00003.gguf"}), ""), "not_found");
  EXPECT_EQ(chosen(files({"M-00001-of-00000.gguf"}), ""), "not_found");
}

TEST(ChooseFile, PrefersSingleRootAndShorterNames) {
  const auto split_too = files({"M-Q4_K_M.gguf", "M-Q4_K_M-00001-of-00001.gguf"});
  EXPECT_EQ(chosen(split_too, "Q4_K_M"), "M-Q4_K_M.gguf");
  const auto folders = files({"old/M-Q4_K_M.gguf", "M-long-name-Q4_K_M.gguf", "N-Q4_K_M.gguf"});
  EXPECT_EQ(chosen(folders, ""), "N-Q4_K_M.gguf");
  EXPECT_NE(choose_by_tag(folders, "u/r", "")->note.find("N-Q4_K_M.gguf"), std::string::npos);
  EXPECT_TRUE(choose_by_tag(files({"M-Q4_K_M.gguf"}), "u/r", "")->note.empty());
}

TEST(ChooseFile, FindsTheProjectorThatBelongsToIt) {
  const auto projector = [](std::initializer_list<std::string> paths) {
    const auto choice = choose_by_tag(files(paths), "u/r", "");
    return choice && choice->projector ? choice->projector->path : "none";
  };
  EXPECT_EQ(projector({"M-Q4_K_M.gguf"}), "none");
  EXPECT_EQ(projector({"M-Q4_K_M.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"}),
            "mmproj-F16.gguf");
  EXPECT_EQ(projector({"M-Q4_K_M.gguf", "mmproj-F32.gguf", "mmproj-BF16.gguf"}),
            "mmproj-BF16.gguf");
  EXPECT_EQ(projector({"a/M-Q4_K_M.gguf", "mmproj-F16.gguf", "a/mmproj-F32.gguf"}),
            "a/mmproj-F32.gguf");
  EXPECT_EQ(projector({"M-Q4_K_M.gguf", "vision/mmproj-model-f16.gguf"}),
            "vision/mmproj-model-f16.gguf");
}

TEST(ChooseFile, SaysWhyThereIsNoModel) {
  const auto none = choose_by_tag(files({"README.md", "model.safetensors"}), "u/r", "");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::not_found);
  const auto old = choose_by_tag(files({"m.Q6_K.gguf-split-a", "m.Q6_K.gguf-split-b"}), "u/r", "");
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, ErrorCode::unsupported);
  EXPECT_FALSE(choose_by_file(files({"M-Q4_0.gguf"}), "u/r", "other.gguf"));
  EXPECT_FALSE(choose_by_tag({}, "u/r", ""));
}

TEST(ChooseFile, SurvivesSizesThatWrap) {
  std::vector<RepoFile> list = files({"M-00001-of-00002.gguf", "M-00002-of-00002.gguf"});
  list[0].size_bytes = list[1].size_bytes = ~std::uint64_t{0} / 2 + 10;
  EXPECT_FALSE(choose_by_tag(list, "u/r", ""));
}

TEST(SafePath, RefusesPathsThatLeadAway) {
  for (const char* path :
       {"m.gguf", "a/b/m.gguf", "..m.gguf", "a b.gguf", "con1/x", "\xc3\xa9.gguf"}) {
    EXPECT_TRUE(is_safe_path(path)) << path;
  }
  for (const char* path : {"", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", "a\\b",
                           "C:x", "a\nb", "nul", "a/CON.gguf", "com1.txt", "\x7f"}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
  EXPECT_FALSE(is_safe_path(std::string(2000, 'a')));
  EXPECT_FALSE(is_safe_path(std::string_view("a\0b", 3)));
}

}  // namespace LM_FILE
}  // namespace lm::registry
