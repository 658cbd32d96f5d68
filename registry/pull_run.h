/// One pull, from its name to the manifest. What is common to all sources is in pull.cpp; each
/// source has a file of its own (pull_hub, pull_oci, pull_url).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "registry/download.h"
#include "registry/hub_client.h"
#include "registry/oci_client.h"
#include "registry/pull.h"
#include "registry/pull_plan.h"

namespace lm::registry {

class PullRun {
 public:
  /// All references outlive the run.
  PullRun(store::Store& store, const HubSettings& settings, const ModelRef& ref,
          const PullOptions& options, const Inspect& inspect,
          const std::function<void(const PullEvent&)>& sink, const std::atomic<bool>& stop);

  Result<PullResult> run();

 private:
  Result<void> check_start();

  // the hub
  Result<PullPlan> plan();
  Result<PullResult> run_repo(const PullPlan& plan);
  Result<std::vector<std::string>> licenses(const PullPlan& plan);
  DownloadSource source_of(const PullPlan& plan, const RepoFile& file);
  bool is_current(const PullPlan& plan, const store::Manifest& manifest) const;

  // a registry
  Result<PullResult> run_oci();
  Result<void> take_texts(OciClient& client, const OciManifest& oci, store::Manifest& manifest);
  void take_params(std::map<std::string, std::vector<std::string>> params,
                   store::Manifest& manifest);

  // a plain address
  Result<PullResult> run_url();

  // every source
  bool layers_are_there(const store::Manifest& manifest) const;
  PullResult current(const store::Manifest& manifest, PullResult result);
  Result<void> check_space(const std::vector<store::Journal>& files);
  /// Takes the file from the hub's cache (`local`, else wherever its digest is found there) or
  /// fetches it.
  Result<store::Layer> fetch(const DownloadSource& source, store::LayerKind kind,
                             PullResult& result, const std::filesystem::path& local = {});
  Result<std::optional<store::Layer>> take_cached(const DownloadSource& source,
                                                  store::LayerKind kind,
                                                  const std::filesystem::path& local);
  std::filesystem::path cached_path(const store::Journal& identity) const;
  /// In an update: what the model that is there adds to its files.
  void keep_additions(store::Manifest& manifest) const;
  Result<void> finish(store::Manifest manifest, PullResult& result);

  void status(std::string text) {
    emit({.kind = PullEvent::Kind::status, .text = std::move(text)});
  }
  void warn(std::string text) { emit({.kind = PullEvent::Kind::warning, .text = std::move(text)}); }
  void emit(const PullEvent& event) {
    if (sink_) {
      sink_(event);
    }
  }

  store::Store& store_;
  const HubSettings& settings_;
  const ModelRef& ref_;
  const PullOptions& options_;
  const Inspect& inspect_;
  const std::function<void(const PullEvent&)>& sink_;
  HttpClient http_;
  HubClient hub_;
  HfCache cache_;
};

}  // namespace lm::registry
