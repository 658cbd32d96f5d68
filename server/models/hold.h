/// A request's share of a loaded model.
#pragma once

#include <functional>
#include <memory>

#include "runtime/engine/messages.h"
#include "server/models/loaded_model.h"

namespace lm::server {

/// While it lives its model stays loaded. Thread-safe.
class Hold {
 public:
  Hold(std::shared_ptr<LoadedModel> model, std::uint64_t load_ns,
       std::function<void(std::shared_ptr<LoadedModel>)> release)
      : model_(std::move(model)), load_ns_(load_ns), release_(std::move(release)) {}
  ~Hold() { release_(std::move(model_)); }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  LoadedModel& model() const { return *model_; }
  std::uint64_t load_ns() const { return load_ns_; }  ///< that was waited for it; 0: it was there

 private:
  std::shared_ptr<LoadedModel> model_;
  std::uint64_t load_ns_;
  std::function<void(std::shared_ptr<LoadedModel>)> release_;
};

}  // namespace lm::server
