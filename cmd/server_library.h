/// The store and the hub as `lm serve` sees them.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cmd/local_store.h"
#include "cmd/resolve.h"
#include "server/service/library.h"

namespace lm::cmd {

/// The same for every lm that uses this store.
std::string store_identity(const std::filesystem::path& home);

class ServerLibrary : public server::Library {
 public:
  /// `insecure_hosts`: that pulls may reach although nobody vouches for them.
  ServerLibrary(LocalStore store, std::vector<std::string> insecure_hosts)
      : store_(std::move(store)), insecure_hosts_(std::move(insecure_hosts)) {}

  std::string identity() const { return store_identity(store_->home()); }

  api::ApiResult<std::shared_ptr<const server::StoredModel>> open(const std::string& name) override;
  api::ApiResult<std::vector<server::ListedModel>> list() override;
  api::ApiResult<nlohmann::ordered_json> show(const std::string& name, bool verbose) override;
  nlohmann::ordered_json details(const std::string& name) override;
  api::ApiResult<void> copy(const std::string& source, const std::string& target) override;
  api::ApiResult<std::string> stored_name(const std::string& name) override;
  api::ApiResult<void> remove(const std::string& name) override;
  api::ApiResult<void> pull(const std::string& name, const server::FrameSink& sink,
                            const std::atomic<bool>& stop) override;
  api::ApiResult<void> create(const nlohmann::json& request,
                              const server::FrameSink& sink) override;
  api::ApiResult<bool> has_blob(const std::string& digest) override;
  std::unique_ptr<server::BlobUpload> upload(const std::string& digest) override;

 private:
  Result<std::shared_ptr<const server::StoredModel>> read(store::OpenModel opened) const;
  Result<void> check_host(const registry::ModelRef& ref) const;

  LocalStore store_;
  std::vector<std::string> insecure_hosts_;
  std::mutex mutex_;  // guards what follows
  /// By id: what was read off a model's header. A few; the oldest goes.
  std::map<std::string, std::shared_ptr<const server::StoredModel>> opened_;
  std::vector<std::string> order_;
};

/// A failure as the API says it. `name`: of the model asked for.
api::ApiError api_error_of(const Failure& failure, const std::string& name = {});

}  // namespace lm::cmd
