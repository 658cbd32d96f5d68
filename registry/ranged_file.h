/// Parts of a file on the hub, read without fetching the whole: what a planner needs of a model
/// that is not here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "registry/chunk_map.h"
#include "registry/hub_client.h"

namespace lm::registry {

/// Where a file's bytes are, and how to ask anew once the address has expired.
struct RangeAddress {
  std::function<Result<Resolved>()> get;
  std::function<void()> forget;
};

/// The bytes of `range`, over one request; an expired address is asked for again. Errors: those of
/// HttpClient, http (the server ignores ranges or answers with others).
Result<std::string> fetch_range(HttpClient& http, const RangeAddress& address, ByteRange range);

/// One file of a snapshot. Belongs to one thread; `hub` outlives it.
class RangedFile {
 public:
  RangedFile(HubClient& hub, std::string repo, std::string commit, RepoFile file);
  const RepoFile& file() const { return file_; }
  /// Exactly these bytes. Errors: those of fetch_range; size_mismatch when the file has another
  /// size than the tree said.
  Result<std::string> read(std::uint64_t offset, std::uint64_t length);
  std::uint64_t fetched_bytes() const { return fetched_bytes_; }

 private:
  HubClient& hub_;
  std::string repo_, commit_;
  RepoFile file_;
  std::optional<Resolved> address_;
  std::uint64_t fetched_bytes_ = 0;
};

}  // namespace lm::registry
