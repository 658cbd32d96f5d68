/// A hub, an empty store and a settings object that points from the one to the other.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "registry/pull.h"
#include "store/store.h"
#include "tests/support/test_hub.h"

namespace lm::registry {

/// A folder of this test alone, removed at its end.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lm-registry-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Bytes that look random and are the same for the same seed.
inline std::string noise(std::size_t bytes, std::uint64_t seed = 1) {
  std::string out(bytes, '\0');
  std::uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
  for (std::size_t i = 0; i < bytes; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    for (std::size_t k = 0; k < 8 && i + k < bytes; ++k) {
      out[i + k] = static_cast<char>(state >> (8 * k));
    }
  }
  return out;
}

/// Retries of a test come at once. Stalls keep a patience that a busy machine does not use up: a
/// test that wants a stall shortens it itself.
inline TransferTuning quick_tuning() {
  using std::chrono::milliseconds;
  TransferTuning tuning;
  tuning.connect_timeout = milliseconds(30'000);
  tuning.answer_timeout = milliseconds(30'000);
  tuning.stall_timeout = milliseconds(30'000);
  tuning.dead_timeout = milliseconds(60'000);
  tuning.retry_base = milliseconds(10);
  tuning.journal_interval = milliseconds(100);
  return tuning;
}

class PullTest : public ::testing::Test {
 protected:
  void start(test::TestHub::Options options = {}) {
    hub_ = std::make_unique<test::TestHub>(std::move(options));
    settings_.endpoint = hub_->endpoint();
    settings_.tuning = quick_tuning();
  }
  store::Store open_store() {
    auto store = store::Store::open(home(), store::Store::Mode::read_write);
    EXPECT_TRUE(store) << store.error().problem;
    return std::move(*store);
  }
  std::filesystem::path home() const { return folder_.path() / "home"; }

  Result<PullResult> pull_name(const std::string& name, const PullOptions& options = {}) {
    auto store = open_store();
    return pull_name(store, name, options);
  }
  Result<PullResult> pull_name(store::Store& store, const std::string& name,
                               const PullOptions& options = {}) {
    auto ref = ModelRef::parse(name);
    if (!ref) {
      return std::unexpected(ref.error());
    }
    events_.clear();
    return pull(
        store, settings_, *ref, options, {},
        [this](const PullEvent& event) {
          events_.push_back(event);
          if (on_event_) {
            on_event_(event);
          }
        },
        stop_);
  }
  /// Bytes of a layer as they are in the store.
  std::string blob(const store::Digest& digest) {
    auto store = open_store();
    std::ifstream file(store.blob_path(digest), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  std::string stored_bytes(const std::string& name, std::size_t layer = 0) {
    auto manifest = open_store().find(name);
    return manifest && manifest->layers.size() > layer ? blob(manifest->layers[layer].digest) : "";
  }
  bool said(PullEvent::Kind kind, const std::string& part) const {
    for (const PullEvent& event : events_) {
      if (event.kind == kind && event.text.find(part) != std::string::npos) {
        return true;
      }
    }
    return false;
  }
  std::vector<std::string> files_in(const std::string& folder) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(home() / folder)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  TempFolder folder_;
  std::unique_ptr<test::TestHub> hub_;
  HubSettings settings_;
  std::atomic<bool> stop_{false};
  std::vector<PullEvent> events_;
  std::function<void(const PullEvent&)> on_event_;
};

}  // namespace lm::registry
