#include "registry/search.h"

#include "registry/update.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

using test::Fault;

class SearchTest : public PullTest {
 protected:
  Result<std::vector<FoundModel>> search(std::string_view term, unsigned limit = 20) {
    HttpClient http(settings_, stop_, {});
    HubClient hub(http, {});
    return search_hub(hub, term, limit);
  }
  Result<std::vector<FoundModel>> search_answered(const std::string& body, int status = 200) {
    hub_->clear_faults();
    hub_->add_fault(
        {.kind = Fault::Kind::status, .times = 100, .cdn = false, .status = status, .body = body});
    return search("x");
  }
};

TEST_F(SearchTest, SortsByDownloadsAndKeepsToGguf) {
  start();
  for (const auto& [repo, downloads] :
       {std::pair{"a/tiny-GGUF", 5u}, {"b/tiny-GGUF", 500u}, {"c/tiny-gguf", 50u}}) {
    hub_->add_file(repo, "m-Q4_0.gguf", "x");
    hub_->set_downloads(repo, downloads);
  }
  hub_->add_file("d/tiny", "model.safetensors", "x");
  hub_->add_file("e/other-GGUF", "m.gguf", "x");
  hub_->set_gated("c/tiny-gguf", true);
  const auto found = search("Tiny");
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].repo, "b/tiny-GGUF");
  EXPECT_EQ((*found)[0].downloads, 500u);
  EXPECT_EQ((*found)[0].modified, "2026-08-20");
  EXPECT_EQ((*found)[1].repo, "c/tiny-gguf");
  EXPECT_TRUE((*found)[1].gated);
  EXPECT_EQ((*found)[2].repo, "a/tiny-GGUF");
  EXPECT_EQ(search("tiny", 2)->size(), 2u);
  EXPECT_TRUE(search("a b&limit=1?#/%")->empty()) << "the term is encoded";
  EXPECT_TRUE(search("nothing")->empty());
}

TEST_F(SearchTest, BoundsAndChecksWhatStrangersAnswer) {
  start();
  for (const char* body : {"", "{}", "null", "[", "<html>"}) {
    const auto found = search_answered(body);
    ASSERT_FALSE(found) << body;
    EXPECT_EQ(found.error().code, ErrorCode::protocol) << body;
  }
  EXPECT_EQ(search_answered(std::string(500'000, '[')).error().code, ErrorCode::protocol);
  EXPECT_EQ(search_answered("[" + std::string(1'000'000, ',') + "]").error().code,
            ErrorCode::protocol);
  EXPECT_EQ(search_answered(std::string(5 << 20, ' ')).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(search_answered("", 404).error().code, ErrorCode::not_found);

  const auto odd = search_answered(
      R"([7,null,{"id":7},{"id":"../../etc"},{"id":"a/b\u001b[31m"},{"id":"a/b/c"},
          {"id":"u/r","downloads":-5,"likes":"many","lastModified":"\u001b[2J-00-00","gated":7},
          {"id":"u/s","downloads":9}])");
  ASSERT_TRUE(odd);
  ASSERT_EQ(odd->size(), 2u);
  EXPECT_EQ((*odd)[0].repo, "u/s");
  EXPECT_EQ((*odd)[1].downloads, 0u);
  EXPECT_EQ((*odd)[1].modified, "");
  EXPECT_FALSE((*odd)[1].gated);

  std::string many = "[";
  for (int i = 0; i < 500; ++i) {
    many += (i == 0 ? "" : ",") + (R"({"id":"u/r)" + std::to_string(i) + "\"}");
  }
  EXPECT_EQ(search_answered(many + "]")->size(), 20u) << "more than was asked for";
}

TEST_F(SearchTest, RefusesTermsAndLimitsOutOfRange) {
  start();
  EXPECT_EQ(search("").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(search(std::string(201, 'x')).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(search("x", 0).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(search("x", 101).error().code, ErrorCode::invalid_argument);
  settings_.offline = true;
  EXPECT_EQ(search("x").error().code, ErrorCode::offline);
  EXPECT_TRUE(hub_->log().empty());
}

TEST(Origin, KnowsWhereAModelCameFrom) {
  store::Manifest manifest;
  manifest.name = "mine:latest";
  EXPECT_FALSE(origin_of(manifest));
  manifest.source_repo = "u/r";
  manifest.source_commit = std::string(40, 'a');
  manifest.source_path = "sub/m-Q4_0.gguf";
  manifest.source_url = "https://huggingface.co";
  manifest.quantization = "Q4_0";
  auto origin = origin_of(manifest);
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->ref.shortest(), "hf.co/u/r:latest");
  EXPECT_EQ(origin->options.file, "sub/m-Q4_0.gguf");
  EXPECT_EQ(origin->options.store_as, "mine:latest");
  EXPECT_FALSE(origin->pinned);
  manifest.source_revision = "v1";
  EXPECT_EQ(origin_of(manifest)->options.revision, "v1");
  EXPECT_FALSE(origin_of(manifest)->pinned);
  manifest.source_revision = std::string(40, 'b');
  EXPECT_TRUE(origin_of(manifest)->pinned);

  manifest = store::Manifest();
  manifest.source_repo = "library/tiny";
  manifest.source_commit = std::string(64, 'a');
  manifest.source_path = "ollama.com/library/tiny:1b";
  manifest.source_url = "https://registry.ollama.ai/v2/library/tiny/manifests/1b";
  origin = origin_of(manifest);
  ASSERT_TRUE(origin);
  EXPECT_TRUE(origin->ref.is_registry());
  EXPECT_EQ(origin->ref.shortest(), "ollama.com/library/tiny:1b");
  EXPECT_EQ(origin->options.file, "");

  manifest = store::Manifest();
  manifest.source_path = "x.gguf";
  manifest.source_url = "https://example.com/a/x.gguf";
  origin = origin_of(manifest);
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->ref.url, "https://example.com/a/x.gguf");
}

}  // namespace LM_FILE
}  // namespace lm::registry
