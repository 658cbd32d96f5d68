#include "registry/repair.h"

#include <algorithm>

#include <fmt/format.h>

#include "registry/ranged_file.h"
#include "store/file_ops.h"
#include "store/sha256.h"

namespace lm::registry {
namespace {

/// One chunk in memory, over a fresh request.
Result<std::string> fetch_chunk(HttpClient& http, TransferRun& run, ByteRange range,
                                std::uint64_t& fetched_bytes) {
  LM_TRY(std::string bytes, fetch_range(http,
                                        {.get = [&run] { return run.address(); },
                                         .forget = [&run] { run.forget_address(); }},
                                        range));
  fetched_bytes += bytes.size();
  return bytes;
}

}  // namespace

Result<std::vector<std::size_t>> chunks_spoilt_on_disk(const PartialFile& file,
                                                       const ChunkMap& map) {
  std::vector<std::size_t> spoilt;
  for (std::size_t i = 0; i < map.count(); ++i) {
    LM_TRY(const std::uint64_t sum, chunk_sum_on_disk(file.fd(), map.range_of(i), file.subject()));
    if (map[i].sum != sum) {
      spoilt.push_back(i);
    }
  }
  return spoilt;
}

Result<store::Digest> repair_over_net(HttpClient& http, TransferRun& run, PartialFile& file,
                                      ChunkMap& map, const store::Digest& wanted,
                                      const store::Digest& got, const DownloadObserver& observer,
                                      std::uint64_t& fetched_bytes) {
  std::vector<std::size_t> order(map.count());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
  }
  std::stable_partition(order.begin(), order.end(), [&](std::size_t i) { return map[i].suspect; });
  store::Digest digest = got;
  std::size_t number = 0;
  for (const std::size_t index : order) {
    observer.status(
        fmt::format("the digest is wrong; fetching chunk {} of {} again", ++number, order.size()));
    LM_TRY(const std::string bytes, fetch_chunk(http, run, map.range_of(index), fetched_bytes));
    const auto view = std::as_bytes(std::span(bytes));
    const std::uint64_t sum = store::chunk_hash(view);
    if (map[index].sum == sum) {
      continue;
    }
    LM_CHECK(store::write_at(file.fd(), view, map.range_of(index).begin, file.subject()));
    map.set_sum(index, sum);
    LM_TRY(digest, store::sha256_of_file(file.fd(), map.size_bytes(), file.subject(),
                                         [&](auto, auto) { return !http.stop(); }));
    if (digest == wanted) {
      break;
    }
  }
  return digest;
}

}  // namespace lm::registry
