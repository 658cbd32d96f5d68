#include "registry/hf_cache.h"

#include "store/sha256.h"
#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

namespace fs = std::filesystem;

class HfCacheTest : public ::testing::Test {
 protected:
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  /// A blob of `repo` and a link to it in a snapshot of commit "aaaa...".
  store::Digest add(const std::string& folder, const std::string& path, const std::string& text) {
    const store::Digest digest = store::sha256(text);
    const fs::path repo = root() / folder;
    write(repo / "blobs" / digest.hex(), text);
    write(repo / "refs" / "main", kCommit);
    const fs::path link = repo / "snapshots" / kCommit / path;
    fs::create_directories(link.parent_path());
    fs::create_symlink(fs::relative(repo / "blobs" / digest.hex(), link.parent_path()), link);
    return digest;
  }
  fs::path root() const { return folder_.path() / "hub"; }
  const std::string kCommit = std::string(40, 'a');
  TempFolder folder_;
};

TEST_F(HfCacheTest, FindsByDigestAndSizeInAnyRepository) {
  const store::Digest digest = add("models--u--r", "m-Q4_0.gguf", "weights");
  const HfCache cache(root());
  ASSERT_TRUE(cache.find("u/r", digest, 7));
  EXPECT_EQ(cache.find("u/r", digest, 7), cache.find("other/name", digest, 7));
  EXPECT_FALSE(cache.find("u/r", digest, 8)) << "another size";
  EXPECT_FALSE(cache.find("u/r", store::sha256("other"), 7));
  // What is no regular file is no candidate.
  const store::Digest folder = store::sha256("folder");
  fs::create_directories(root() / "models--u--r" / "blobs" / folder.hex());
  EXPECT_FALSE(cache.find("u/r", folder, fs::file_size(root() / "models--u--r" / "refs" / "main")));
  const store::Digest loop = store::sha256("loop");
  fs::create_symlink(loop.hex(), root() / "models--u--r" / "blobs" / loop.hex());
  EXPECT_FALSE(cache.find("u/r", loop, 7));
  EXPECT_FALSE(HfCache("").find("u/r", digest, 7));
  EXPECT_FALSE(HfCache(root() / "none").find("u/r", digest, 7));
}

TEST_F(HfCacheTest, ReadsASnapshotAsTheTreeWouldBe) {
  const store::Digest digest = add("models--U--My.Repo-GGUF", "sub/m-Q4_0.gguf", "weights");
  write(root() / "models--U--My.Repo-GGUF" / "snapshots" / kCommit / "LICENSE", "do");
  const HfCache cache(root());
  const auto snapshot = cache.snapshot("u/my.repo-gguf", "");
  ASSERT_TRUE(snapshot) << snapshot.error().problem;
  EXPECT_EQ(snapshot->repo, "U/My.Repo-GGUF");
  EXPECT_EQ(snapshot->commit, kCommit);
  ASSERT_EQ(snapshot->files.size(), 2u);
  EXPECT_EQ(snapshot->files[0].path, "LICENSE");
  EXPECT_FALSE(snapshot->files[0].digest);
  EXPECT_EQ(snapshot->files[1].path, "sub/m-Q4_0.gguf");
  EXPECT_EQ(snapshot->files[1].digest, digest);
  EXPECT_EQ(snapshot->files[1].size_bytes, 7u);
  EXPECT_EQ(HfCache::text(*snapshot, "LICENSE", 10), "do");
  EXPECT_EQ(HfCache::text(*snapshot, "LICENSE", 1), "");
  EXPECT_EQ(HfCache::text(*snapshot, "../../refs/main", 100), "");
  EXPECT_TRUE(cache.snapshot("u/my.repo-gguf", kCommit));
}

TEST_F(HfCacheTest, TakesNothingFromABrokenOrHostileTree) {
  add("models--u--r", "m-Q4_0.gguf", "weights");
  const HfCache cache(root());
  for (const char* revision : {"v1", "../main", "/etc/passwd", "refs/../../x", ""}) {
    const bool is_main = std::string(revision).empty();
    EXPECT_EQ(cache.snapshot("u/r", revision).has_value(), is_main) << revision;
  }
  EXPECT_FALSE(cache.snapshot("u/none", ""));
  EXPECT_FALSE(cache.snapshot("../u/r", ""));
  EXPECT_FALSE(cache.snapshot("u/r", std::string(40, 'b')));
  for (const std::string& ref : {std::string("../../../etc"), std::string(39, 'a'), std::string(),
                                 std::string(1 << 20, 'a'), kCommit + "/../.."}) {
    write(root() / "models--u--r" / "refs" / "main", ref);
    EXPECT_FALSE(cache.snapshot("u/r", "")) << ref.substr(0, 60);
  }
  // Links to nowhere and to themselves are no files.
  write(root() / "models--u--r" / "refs" / "main", kCommit + "\n");
  const fs::path snapshot = root() / "models--u--r" / "snapshots" / kCommit;
  fs::create_symlink("nowhere", snapshot / "gone.gguf");
  fs::create_symlink("self.gguf", snapshot / "self.gguf");
  fs::create_directory_symlink("..", snapshot / "up");
  const auto read = cache.snapshot("u/r", "");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->files.size(), 1u);
}

}  // namespace LM_FILE
}  // namespace lm::registry
