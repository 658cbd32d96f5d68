#include "registry/settings.h"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/registry/pull_fixture.h"

namespace lm::registry {
namespace LM_FILE {

class SettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"HF_ENDPOINT", "LM_OLLAMA_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
          "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME",
          "HF_HUB_DISABLE_IMPLICIT_TOKEN", "LM_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
          "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "HF_HUB_ETAG_TIMEOUT",
          "HF_HUB_DOWNLOAD_TIMEOUT"}) {
      ::unsetenv(name);
    }
    ::setenv("HOME", folder_.path().c_str(), 1);
  }
  void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  TempFolder folder_;
};

TEST_F(SettingsTest, HasDefaults) {
  const auto settings = hub_settings_from_environment();
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->endpoint, "https://huggingface.co");
  EXPECT_TRUE(settings->token.empty());
  EXPECT_FALSE(settings->offline);
  EXPECT_EQ(settings->tuning.stall_timeout, std::chrono::seconds(10));
}

TEST_F(SettingsTest, ReadsTheTokenInOrder) {
  std::filesystem::create_directories(folder_.path() / ".cache/huggingface");
  std::ofstream(folder_.path() / ".cache/huggingface/token") << " hf_file\r\n";
  EXPECT_EQ(hub_settings_from_environment()->token.reveal(), "hf_file");
  EXPECT_NE(hub_settings_from_environment()->token_source.find("huggingface/token"),
            std::string::npos);
  set("HUGGING_FACE_HUB_TOKEN", "hf_second");
  EXPECT_EQ(hub_settings_from_environment()->token.reveal(), "hf_second");
  set("HF_TOKEN", " hf_first\n");
  EXPECT_EQ(hub_settings_from_environment()->token.reveal(), "hf_first");
  EXPECT_EQ(hub_settings_from_environment()->token_source, "HF_TOKEN");
  set("HF_TOKEN", "  ");
  EXPECT_EQ(hub_settings_from_environment()->token.reveal(), "hf_second");
  set("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
  EXPECT_TRUE(hub_settings_from_environment()->token.empty());
}

TEST_F(SettingsTest, FindsTheTokenFileWhereItIsNamed) {
  std::ofstream(folder_.path() / "token") << "hf_home";
  std::ofstream(folder_.path() / "other") << "hf_path";
  set("HF_HOME", folder_.path().string());
  EXPECT_EQ(hub_settings_from_environment()->token.reveal(), "hf_home");
  set("HF_TOKEN_PATH", "~/other");
  EXPECT_EQ(hub_settings_from_environment()->token.reveal(), "hf_path");
}

TEST_F(SettingsTest, RefusesATokenThatWouldBreakAHeader) {
  set("HF_TOKEN", "hf_a\r\nX-Evil: 1");
  const auto settings = hub_settings_from_environment();
  ASSERT_FALSE(settings);
  EXPECT_EQ(settings.error().subject, "HF_TOKEN");
  EXPECT_EQ(settings.error().problem.find("Evil"), std::string::npos);
  set("HF_TOKEN", std::string(5000, 'a'));
  EXPECT_FALSE(hub_settings_from_environment());
}

TEST_F(SettingsTest, ReadsTheEndpoint) {
  set("HF_ENDPOINT", " \"https://mirror.example/hub/\" ");
  EXPECT_EQ(hub_settings_from_environment()->endpoint, "https://mirror.example/hub");
  for (const char* bad : {"ftp://x", "https://user:secret@host", "not an address", "https://",
                          "http://host/?q", "file:///etc/passwd"}) {
    set("HF_ENDPOINT", bad);
    const auto settings = hub_settings_from_environment();
    ASSERT_FALSE(settings) << bad;
    EXPECT_EQ(settings.error().subject, "HF_ENDPOINT");
    EXPECT_EQ(settings.error().problem.find("secret"), std::string::npos);
  }
}

TEST_F(SettingsTest, FindsTheHubsCache) {
  const std::string home = folder_.path().string();
  EXPECT_EQ(hub_settings_from_environment()->hf_cache, home + "/.cache/huggingface/hub");
  set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(hub_settings_from_environment()->hf_cache, "/xdg/huggingface/hub");
  set("HF_HOME", "~/hf");
  EXPECT_EQ(hub_settings_from_environment()->hf_cache, home + "/hf/hub");
  set("HUGGINGFACE_HUB_CACHE", "$HF_HOME/old");
  EXPECT_EQ(hub_settings_from_environment()->hf_cache, "~/hf/old");
  set("HF_HUB_CACHE", "${XDG_CACHE_HOME}/c$NOT_SET_ANYWHERE/$");
  EXPECT_EQ(hub_settings_from_environment()->hf_cache, "/xdg/c/$");
}

TEST_F(SettingsTest, ReadsOfflineFlags) {
  for (const char* name : {"LM_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    for (const char* value : {"1", "ON", "Yes", "true"}) {
      set(name, value);
      EXPECT_TRUE(hub_settings_from_environment()->offline) << name << value;
    }
    set(name, "0");
    EXPECT_FALSE(hub_settings_from_environment()->offline);
    set(name, "maybe");
    EXPECT_EQ(hub_settings_from_environment().error().subject, name);
    ::unsetenv(name);
  }
  set("HF_HUB_OFFLINE", "1");
  set("LM_OFFLINE", "0");
  EXPECT_FALSE(hub_settings_from_environment()->offline);  // ours decides
}

TEST_F(SettingsTest, ReadsCertificatesAndTimeouts) {
  set("SSL_CERT_FILE", "/a");
  EXPECT_EQ(hub_settings_from_environment()->ca_file, "/a");
  set("CURL_CA_BUNDLE", "/b");
  EXPECT_EQ(hub_settings_from_environment()->ca_file, "/b");
  set("HF_HUB_DOWNLOAD_TIMEOUT", "2.5");
  EXPECT_GE(hub_settings_from_environment()->tuning.stall_timeout.count(), 2500);
  for (const char* bad : {"0", "-1", "abc", "1e99", "nan"}) {
    set("HF_HUB_DOWNLOAD_TIMEOUT", bad);
    EXPECT_FALSE(hub_settings_from_environment()) << bad;
  }
}

}  // namespace LM_FILE
}  // namespace lm::registry
