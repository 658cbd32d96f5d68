#include "registry/repair.h"

#include <algorithm>

#include <fmt/format.h>

#include "registry/retry.h"
#include "store/file_ops.h"
#include "store/sha256.h"

namespace lm::registry {
namespace {

constexpr int kMaxExpiries = 3;

bool is_expired(int status) {
  return status == 400 || status == 401 || status == 403 || status == 410;
}

/// One chunk in memory, over a fresh request.
Result<std::string> fetch_chunk(HttpClient& http, TransferRun& run, ByteRange range,
                                std::uint64_t& fetched_bytes, int expiries = 0) {
  LM_TRY(const Resolved address, run.address());
  const Url& url = address.url;
  LM_TRY(HttpResponse response,
         http.fetch({.url = url,
                     .headers = {fmt::format("Range: bytes={}-{}", range.begin, range.end - 1)},
                     .max_body_bytes = static_cast<std::size_t>(range.end - range.begin),
                     .stop_at_body = false,
                     .bearer = address.bearer}));
  if (is_expired(response.status) && expiries < kMaxExpiries) {
    run.forget_address();
    return fetch_chunk(http, run, range, fetched_bytes, expiries + 1);
  }
  fetched_bytes += response.body.size();
  const std::string expected = fmt::format("bytes {}-{}/", range.begin, range.end - 1);
  if (response.status != 206 || response.body.size() != range.end - range.begin ||
      !response.headers.get("content-range").starts_with(expected)) {
    Error error = status_error(url, response.status, response.headers);
    error.problem = fmt::format("chunk {}-{} can't be fetched again: status {}, {} bytes",
                                range.begin, range.end - 1, response.status, response.body.size());
    return std::unexpected(error);
  }
  return std::move(response.body);
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
