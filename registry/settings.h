/// What the environment says about the hub. Read once by cmd/ and server/ and passed down.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "store/error.h"

namespace lm::registry {

/// A secret that prints as "***".
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  bool empty() const { return value_.empty(); }
  const std::string& reveal() const { return value_; }

 private:
  std::string value_;
};

/// Waits and sizes of hub-protocol.md 10. Tests shorten them; nothing else changes them.
struct TransferTuning {
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds answer_timeout{
      10'000};  ///< HF_HUB_ETAG_TIMEOUT: no byte of an API answer
  std::chrono::milliseconds stall_timeout{
      10'000};  ///< HF_HUB_DOWNLOAD_TIMEOUT: no byte on a connection
  std::chrono::milliseconds dead_timeout{60'000};  ///< no byte on any connection: counts as a try
  std::chrono::milliseconds retry_base{1'000};     ///< first wait; doubles with every try
  std::chrono::milliseconds rate_limit_max{
      300'000};  ///< longest wait the hub may ask for (its window)
  int max_tries = 5;
  std::chrono::milliseconds journal_interval{1'000};
  std::uint64_t journal_bytes =
      32u << 20;  ///< the journal is written after so many new bytes, or that time
};

struct HubSettings {
  std::string endpoint = "https://huggingface.co";  ///< HF_ENDPOINT, trailing '/' stripped
  /// LM_OLLAMA_ENDPOINT: who answers for ollama.com/..., trailing '/' stripped.
  std::string ollama_endpoint = "https://registry.ollama.ai";
  Secret token;              ///< HF_TOKEN, HUGGING_FACE_HUB_TOKEN, token file
  std::string token_source;  ///< where it came from, for messages; empty: none
  std::string hf_cache;      ///< HF_HUB_CACHE and its relatives; a file there is not fetched
  bool offline = false;      ///< LM_OFFLINE, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE
  std::string ca_file;       ///< SSL_CERT_FILE or CURL_CA_BUNDLE
  std::string ca_dir;        ///< SSL_CERT_DIR
  bool insecure = false;     ///< --insecure: certificates are not verified
  std::string user_agent = "lm/" LM_VERSION;
  TransferTuning tuning;
};

/// Reads the environment. Errors: invalid_argument naming the variable.
store::Result<HubSettings> hub_settings_from_environment();

}  // namespace lm::registry
