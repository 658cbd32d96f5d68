// Pulls of one file from a plain address.
#include <fmt/format.h>

#include "registry/pull_run.h"

namespace lm::registry {

Result<PullResult> PullRun::run_url() {
  LM_TRY(const Url url, Url::parse(ref_.url));
  LM_TRY(const Resolved resolved, hub_.resolve_url(url));
  const std::string address = url.for_display();
  if (resolved.content_type.starts_with("text/html") || !resolved.size_bytes) {
    return std::unexpected(
        Error{.code = ErrorCode::protocol,
              .subject = address,
              .problem = resolved.size_bytes ? "the answer is a web page, not a file"
                                             : "the server doesn't say how long the file is",
              .hint = "open the address in a browser and copy the one the download starts from"});
  }
  DownloadSource source;
  source.file_name = url.path.substr(url.path.rfind('/') + 1);
  source.identity.url = address;
  source.identity.path = source.file_name;
  source.identity.etag = resolved.identity;
  source.identity.model = options_.store_as.empty() ? ref_.shortest() : options_.store_as;
  source.identity.size_bytes = *resolved.size_bytes;
  source.identity.sha256 = resolved.digest;
  source.resolve = [this, url] { return hub_.resolve_url(url); };
  const std::string name = options_.store_as.empty() ? ref_.shortest() : options_.store_as;
  PullResult result{.name = name,
                    .id = {},
                    .repo = {},
                    .commit = {},
                    .label = {},
                    .files = {source.file_name},
                    .total_bytes = *resolved.size_bytes};
  store::Manifest manifest;
  manifest.name = name;
  manifest.source_path = source.file_name;
  manifest.source_url = address;
  // The validator stands where a repository has its commit: it says whether the file is still the
  // same.
  manifest.source_commit = resolved.identity;
  if (const auto old = store_.find(manifest.name)) {
    if (old->source_url != address) {
      return std::unexpected(
          Error{.code = ErrorCode::already_exists,
                .subject = manifest.name,
                .problem = "another model has this name",
                .hint = fmt::format("give that one another name: lm cp {0} NEW && lm rm {0}",
                                    manifest.name)});
    }
    if (!resolved.identity.empty() && old->source_commit == resolved.identity &&
        old->size_bytes() == *resolved.size_bytes && layers_are_there(*old)) {
      return current(*old, std::move(result));
    }
  }
  if (options_.dry_run) {
    return result;
  }
  keep_additions(manifest);
  LM_CHECK(check_space({source.identity}));
  LM_TRY(store::Layer layer, fetch(source, store::LayerKind::model, result));
  manifest.layers.push_back(std::move(layer));
  LM_CHECK(finish(std::move(manifest), result));
  return result;
}

}  // namespace lm::registry
