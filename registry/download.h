/// One file from the hub into the store: ranged connections, resume, stall and retry rules of
/// hub-protocol.md 10.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "registry/http.h"
#include "registry/hub_client.h"
#include "store/journal.h"
#include "store/store.h"

namespace lm::registry {

/// What to fetch.
struct DownloadSource {
  std::string file_name;  ///< for messages
  /// Where the bytes are now; called again when the address expires. Its size and identity must not
  /// change.
  std::function<Result<Resolved>()> resolve;
  /// Who the bytes are: repo, commit, path (or url and etag), model, size_bytes, sha256 (empty:
  /// whatever comes is it).
  store::Journal identity;
};

struct DownloadOptions {
  unsigned connections = 0;      ///< 1..16; 0: automatic
  std::uint64_t limit_rate = 0;  ///< bytes a second; 0: none
  /// The blob that is there is damaged: it does not count, and is replaced once every byte is
  /// right.
  bool replace = false;
};

/// Called on the downloading thread.
struct DownloadObserver {
  std::function<void(std::uint64_t completed_bytes)> progress;  ///< on disk; never falls
  std::function<void(std::string)> status;                      ///< what is waited for
  std::function<void(std::string)> warning;
};

struct DownloadResult {
  store::Digest digest;
  std::uint64_t size_bytes = 0;
  std::uint64_t fetched_bytes = 0;  ///< that travelled in this call
  store::Lease lease = {};          ///< of the blob
};

/// Fetches into partial/, verifies and commits to blobs/. A blob that is there is not fetched; a
/// partial of this or a dead process is continued; while another process fetches the same blob,
/// waits and shows its progress. Errors: interrupted (partial kept), network, http, rate_limited,
/// unauthorized, gated, not_found, protocol (partial kept), size_mismatch and digest_mismatch
/// (partial dropped, so that the next try starts afresh), no_space, io.
Result<DownloadResult> download_file(store::Store& store, HttpClient& http,
                                     const DownloadSource& source, const DownloadOptions& options,
                                     const DownloadObserver& observer);

/// Removes the partial of a blob that came in by another way, unless somebody works on it.
void drop_partial(const store::Store& store, const store::Digest& digest);

/// Bytes of `identity` that a partial already holds, for the free-space check.
std::uint64_t bytes_already_there(const store::Store& store, const store::Journal& identity);

}  // namespace lm::registry
