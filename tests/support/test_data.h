/// Where test data lies.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace lm::test {

/// Real models, vocabularies and templates that are not part of the repository: $LM_TEST_DATA, else
/// `shared/data` beside it. May not exist; then the tests that need it skip and say so.
inline std::filesystem::path shared_data() {
  const char* path = std::getenv("LM_TEST_DATA");
  if (path != nullptr && *path != '\0') {
    return path;
  }
  return std::filesystem::path(LM_SOURCE_DIR) / "../shared/data";
}

/// Golden models and outputs that are part of the repository.
inline std::filesystem::path golden_data() {
  return std::filesystem::path(LM_SOURCE_DIR) / "tests/data/golden";
}

}  // namespace lm::test
