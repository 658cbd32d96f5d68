#include "tests/crash/store_view.h"

#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "store/manifest.h"
#include "store/sha256.h"

namespace lm::crash {
namespace {

std::string text_of(store::Manifest manifest) {
  manifest.modified_unix = 0;
  return manifest.to_json();
}

std::vector<fs::path> manifest_files(const Sandbox& sandbox) {
  std::vector<fs::path> files;
  const fs::path folder = sandbox.store() / "manifests";
  if (fs::exists(folder)) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      files.push_back(entry.path());
    }
  }
  return files;
}

}  // namespace

StoreView look_at(const Sandbox& sandbox) {
  StoreView view;
  for (const fs::path& file : manifest_files(sandbox)) {
    const auto manifest = store::Manifest::from_json(read_file(file), file.native());
    if (!manifest) {
      view.lost.push_back(file.native() + ": " + manifest.error().problem);
      continue;
    }
    for (const store::Layer& layer : manifest->layers) {
      const fs::path blob = sandbox.store() / "blobs" / layer.digest.blob_name();
      const std::string bytes = read_file(blob);
      if (bytes.size() != layer.size_bytes || store::sha256(bytes) != layer.digest) {
        view.lost.push_back(fmt::format("{}: {} is {}", manifest->name, blob.native(),
                                        fs::exists(blob) ? "damaged" : "missing"));
      }
    }
    view.models[manifest->name] = text_of(*manifest);
  }
  return view;
}

std::set<std::string> listed(const Sandbox& sandbox) {
  const test::Finished result = run_lm(sandbox, {"list", "-q"});
  EXPECT_EQ(result.exit_code, 0) << "lm list: signal " << result.signal << "\n" << result.err;
  std::set<std::string> names;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    names.insert(line);
  }
  return names;
}

std::set<std::string> names_of(const Models& models) {
  std::set<std::string> names;
  for (const auto& [name, text] : models) {
    names.insert(name);
  }
  return names;
}

void prune_all(const Sandbox& sandbox) {
  const test::Finished result = run_lm(sandbox, {"prune", "--all"});
  EXPECT_EQ(result.exit_code, 0) << "lm prune: signal " << result.signal << "\n" << result.err;
}

std::vector<std::string> leaked(const Sandbox& sandbox) {
  std::set<std::string> needed{"blobs", "manifests", "partial",      "tmp",
                               "lock",  "index.db",  "index.db-wal", "index.db-shm"};
  for (const fs::path& file : manifest_files(sandbox)) {
    const auto manifest = store::Manifest::from_json(read_file(file), file.native());
    if (!manifest) {
      continue;
    }
    needed.insert("manifests/" + store::manifest_key(manifest->name) + ".json");
    for (const store::Layer& layer : manifest->layers) {
      needed.insert("blobs/" + layer.digest.blob_name());
      needed.insert("blobs/" + layer.digest.blob_name() + ".chunks");
    }
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(sandbox.store())) {
    const std::string name = entry.path().lexically_relative(sandbox.store()).native();
    if (!needed.contains(name)) {
      files.push_back(name);
    }
  }
  return files;
}

}  // namespace lm::crash
