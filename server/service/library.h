/// What the server asks of the store and the hub. The program implements it: names, Modelfiles and
/// pulls are its business already.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "server/api/api_error.h"
#include "server/api/model_facts.h"
#include "server/http/exchange.h"
#include "server/models/model_source.h"

namespace lm::server {

/// A stored model, ready to be loaded and planned with.
struct StoredModel {
  std::shared_ptr<const ModelSource> source;
  api::ModelFacts facts;  ///< without what loading decides
};

/// A row of /api/tags.
struct ListedModel {
  std::string name;
  std::int64_t modified_unix = 0;
  nlohmann::ordered_json row;
};

/// An upload on its way into the store.
class BlobUpload : public BodySink {
 public:
  /// All bytes have come: the blob is in, or they are not what the digest says (400) and nothing is
  /// kept.
  virtual api::ApiResult<void> finish() = 0;
};

/// Frames of a long work, one JSON object each.
using FrameSink = std::function<void(const nlohmann::ordered_json& frame)>;

/// Any thread may call; calls may block on disk and network. Errors carry a status: 400 names that
/// break their grammar, 404 absent models (the text holds "not found").
class Library {
 public:
  virtual ~Library() = default;

  virtual api::ApiResult<std::shared_ptr<const StoredModel>> open(const std::string& name) = 0;
  /// Newest first.
  virtual api::ApiResult<std::vector<ListedModel>> list() = 0;
  virtual api::ApiResult<nlohmann::ordered_json> show(const std::string& name, bool verbose) = 0;
  /// `details` of a model, for /api/ps.
  virtual nlohmann::ordered_json details(const std::string& name) = 0;
  virtual api::ApiResult<void> copy(const std::string& source, const std::string& target) = 0;
  /// The name as stored.
  virtual api::ApiResult<std::string> stored_name(const std::string& name) = 0;
  virtual api::ApiResult<void> remove(const std::string& name) = 0;
  /// `stop` ends it, what has arrived is kept.
  virtual api::ApiResult<void> pull(const std::string& name, const FrameSink& sink,
                                    const std::atomic<bool>& stop) = 0;
  virtual api::ApiResult<void> create(const nlohmann::json& request, const FrameSink& sink) = 0;
  virtual api::ApiResult<bool> has_blob(const std::string& digest) = 0;
  virtual std::unique_ptr<BlobUpload> upload(const std::string& digest) = 0;
};

}  // namespace lm::server
