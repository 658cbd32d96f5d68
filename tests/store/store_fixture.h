// What the store's tests share: a folder of their own, models out of text, a picture of a store to
// compare.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "store/journal.h"
#include "store/sha256.h"
#include "store/store.h"

namespace lm::store {

namespace fs = std::filesystem;

/// Shows an error in a failed assertion.
inline std::string explain(const Error& error) {
  return std::string(code_name(error.code)) + ": " + error.subject + ": " + error.problem + "; " +
         error.hint;
}

/// Usable in assertions, with a message when it fails.
template <class T>
testing::AssertionResult is_ok(const Result<T>& result) {
  return result ? testing::AssertionSuccess()
                : testing::AssertionFailure() << explain(result.error());
}

#define ASSERT_OK(expr) ASSERT_TRUE(is_ok(expr))
#define EXPECT_OK(expr) EXPECT_TRUE(is_ok(expr))
#define EXPECT_ERROR(expr, wanted)                                                 \
  do {                                                                             \
    const auto& expect_error = (expr);                                             \
    ASSERT_FALSE(expect_error.has_value());                                        \
    EXPECT_EQ(expect_error.error().code, wanted) << explain(expect_error.error()); \
  } while (false)

/// Where test folders go: in memory when there is such a place, because thousands of fsyncs on a
/// disk take minutes and what they prove about the disk is not what is tested here.
inline fs::path scratch_base() {
  if (const char* chosen = std::getenv("LM_TEST_TMP")) {
    return chosen;
  }
  return ::access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path();
}

/// A new empty folder, removed at the end.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (scratch_base() / "lm-store-XXXXXX").native();
    path_ = ::mkdtemp(pattern.data());
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    fs::permissions(path_, fs::perms::owner_all, ignored);
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline void write_file(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline Store open_store(const fs::path& home, Store::Mode mode = Store::Mode::read_write) {
  auto store = Store::open(home, mode);
  if (!store) {
    ADD_FAILURE() << explain(store.error());
    std::abort();
  }
  return std::move(*store);
}

/// A manifest over layers that are in the store.
inline Manifest manifest_of(std::string name, std::vector<Layer> layers) {
  Manifest manifest;
  manifest.name = std::move(name);
  for (Layer& layer : layers) {
    layer.kind = LayerKind::model;
  }
  manifest.layers = std::move(layers);
  manifest.architecture = "llama";
  manifest.quantization = "Q4_K_M";
  manifest.parameter_count = 1'000'000;
  manifest.modified_unix = 1'700'000'000;
  return manifest;
}

/// Stores a model whose blobs are these texts.
inline Result<std::string> put_texts(Store& store, const std::string& name,
                                     const std::vector<std::string>& texts) {
  std::vector<Layer> layers;
  for (const std::string& text : texts) {
    LM_TRY(const Layer layer, store.add_bytes(text));
    layers.push_back(layer);
  }
  return store.put(manifest_of(name, layers));
}

inline std::vector<std::string> names_of(const Store& store, std::string_view prefix = {}) {
  auto entries = store.list(prefix);
  EXPECT_TRUE(entries.has_value()) << explain(entries.error());
  std::vector<std::string> names;
  if (entries) {
    for (const ModelEntry& entry : *entries) {
      names.push_back(entry.name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline std::set<std::string> files_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.insert(entry.path().filename().native());
  }
  return names;
}

/// Name of every model and digests of its blobs.
using Picture = std::map<std::string, std::vector<std::string>>;

/// Every blob is read and its digest checked.
inline Picture picture(Store& store) {
  Picture result;
  for (const std::string& name : names_of(store)) {
    auto model = store.open_model(name);
    EXPECT_TRUE(model.has_value()) << name << ": " << explain(model.error());
    if (!model) {
      result[name] = {"unreadable"};
      continue;
    }
    for (const Layer& layer : model->manifest.layers) {
      const auto check = store.verify_blob(layer.digest, layer.size_bytes);
      EXPECT_TRUE(check.has_value() && check->state == BlobCheck::State::good)
          << name << " " << layer.digest.hex();
      result[name].push_back(layer.digest.hex());
    }
  }
  return result;
}

inline Picture picture_of(const fs::path& home) {
  Store store = open_store(home);
  return picture(store);
}

/// A folder for one store.
class StoreTest : public testing::Test {
 protected:
  fs::path home() const { return folder_.path() / "home"; }
  Store open(Store::Mode mode = Store::Mode::read_write) const { return open_store(home(), mode); }
  TempFolder folder_;
};

}  // namespace lm::store
