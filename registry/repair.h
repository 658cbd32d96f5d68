/// When the SHA-256 of a finished file is wrong: which bytes to fetch again. hub-protocol.md 10,
/// "wrong sha".
#pragma once

#include "registry/transfer_run.h"

namespace lm::registry {

/// Chunks that no longer match their own sums: the disk changed them, the net is not to blame.
Result<std::vector<std::size_t>> chunks_spoilt_on_disk(const PartialFile& file,
                                                       const ChunkMap& map);

/// All chunks match their sums, so a wrong byte came over the net. Fetches them again one by one,
/// suspects first, replaces those that differ, and stops when the file's digest is `wanted`. One
/// pass; returns the digest it ends with, which may still be another. Errors: those of the
/// requests, io.
Result<store::Digest> repair_over_net(HttpClient& http, TransferRun& run, PartialFile& file,
                                      ChunkMap& map, const store::Digest& wanted,
                                      const store::Digest& got, const DownloadObserver& observer,
                                      std::uint64_t& fetched_bytes);

}  // namespace lm::registry
